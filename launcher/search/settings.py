"""Which samplers and pruners there are, and what can be set of each. Checks names and numbers; imports no optuna."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Known:
    """One sampler or pruner."""

    optuna: str
    """Its class there; empty for one of our own, and for none."""
    needs: tuple[str, ...]
    """Packages beside optuna, as they are imported."""
    settings: Mapping[str, type]
    """What `search.sampler_settings` or `search.pruner_settings` may say."""
    required: tuple[str, ...] = ()
    """Those of the settings that have no default."""


_COMPARES = {"n_startup_trials": int, "n_warmup_steps": int, "interval_steps": int, "n_min_trials": int}

SAMPLERS: Mapping[str, Known] = {
    "tpe": Known(
        optuna="TPESampler",
        needs=(),
        settings={"n_startup_trials": int, "n_ei_candidates": int, "multivariate": bool, "group": bool},
    ),
    "random": Known(optuna="RandomSampler", needs=(), settings={}),
    "gp": Known(
        optuna="GPSampler",
        needs=("scipy", "torch"),
        settings={"n_startup_trials": int, "deterministic_objective": bool},
    ),
}
PRUNERS: Mapping[str, Known] = {
    "none": Known(optuna="", needs=(), settings={}),
    "median": Known(optuna="MedianPruner", needs=(), settings=_COMPARES),
    "percentile": Known(
        optuna="PercentilePruner",
        needs=(),
        settings={"percentile": float, **_COMPARES},
        required=("percentile",),
    ),
    "threshold": Known(
        optuna="ThresholdPruner",
        needs=(),
        settings={"lower": float, "upper": float, "n_warmup_steps": int, "interval_steps": int},
    ),
    "asha": Known(
        optuna="",
        needs=(),
        settings={"min_resource": int, "reduction_factor": int},
        required=("min_resource",),
    ),
}
"""A step is an iteration, as the lines of metrics.json count them."""


def problems_with_choice(
    setting: str, name: str, given: Mapping[str, Any], known: Mapping[str, Known]
) -> Iterator[str]:
    """Why `search.sampler` or `search.pruner`, the setting, cannot be taken with what is `given` for it."""
    if name not in known:
        near = get_close_matches(name, known, n=1)
        yield f"{setting}={name}: there are {', '.join(known)}. Set {setting}={near[0] if near else next(iter(known))}."
        return
    chosen, node = known[name], f"{setting}_settings"
    for key in given:
        if key not in chosen.settings:
            there = f"there are {', '.join(chosen.settings)}" if chosen.settings else "it takes none"
            yield f"{node}.{key}: {name} has no such setting; {there}."
        elif not _fits(given[key], chosen.settings[key]):
            yield f"{node}.{key}={given[key]}: {name} takes {_kind(chosen.settings[key])} there."
    for key in chosen.required:
        if key not in given:
            yield f"{setting}={name} needs {node}.{key}: {node}='{{{key}: NUMBER}}'."


def _fits(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float) if kind is float else isinstance(value, int) and value >= 0


def _kind(kind: type) -> str:
    return {bool: "true or false", int: "a whole number of 0 or more", float: "a number"}[kind]
