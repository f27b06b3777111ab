"""What sweeps and their jobs are called: the same for the same command, and for one whose space has grown. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.config.keys import Keys
from launcher.config.request import RunRequest
from launcher.run.identity import settings_that_matter
from launcher.run.naming import LONGEST_NAME, data_of, digest_of, group_named, model_of, name_of, shortest_key

PREFIX = "sweep-"
SEED = "SEED"
LOGS = "logs"
"""Beside the jobs: what their processes printed."""
RESERVED = frozenset({LOGS, "cluster", "tensorboard", "sweep.json", "summary.csv", "report.html"})
"""What a sweep keeps beside its jobs."""


def key_of(override: str) -> str:
    """`model` of `+model=x`."""
    return override.partition("=")[0].lstrip("+~")


def settings_in(overrides: Sequence[str]) -> dict[str, str]:
    """By key; of one that is typed twice the last counts."""
    return {key_of(text): text.partition("=")[2] for text in overrides}


def settings_without_quotes(overrides: Sequence[str]) -> frozenset[tuple[str, str]]:
    """The same for jobs that would have one folder: quotes do not get into names, nor does the order."""
    return frozenset((key, re.sub(r"""^(["'])(.*)\1$""", r"\2", text)) for key, text in settings_in(overrides).items())


def sweep_folder(request: RunRequest, fixed: Sequence[str], swept: Sequence[str]) -> Path:
    """Where the sweep lives: `<run.root>/<experiment, or model and data set>/<name>`; `request` is that of any job."""
    return Path(request.run.root).absolute() / _group_of(request, swept) / _name_of(request, fixed, swept)


def job_name(request: RunRequest, overrides: Sequence[str], *, repeats: int | None) -> str:
    """The folder of a job within its sweep, by its own overrides; `repeats` is the seed of a point that is repeated."""
    settings = settings_in(overrides)
    named = settings.pop("run.name", "").strip("\"'")
    seed = [f"{SEED}={repeats}"] if repeats is not None else []
    parts = [*([named] if named else []), *([_text(settings, request)] if settings or not named else []), *seed]
    return ",".join(parts)


def is_reserved(name: str) -> bool:
    """Whether a job of that name would live where the sweep keeps something of its own."""
    return Path(name).parts[0] in RESERVED


def same_sweep(fixed: Sequence[str], other: Sequence[str]) -> bool:
    """Whether what all jobs share is the same, as far as it makes another run."""
    return settings_that_matter(fixed) == settings_that_matter(other)


def _text(settings: Mapping[str, str], request: RunRequest) -> str:
    name = name_of(settings, request, is_in_group=False)
    return name.text if name.is_complete else f"{name.text}-{name.digest}"


def _group_of(request: RunRequest, swept: Sequence[str]) -> str:
    """That of a run, with what is swept left open: a further model is no other sweep."""
    if "experiment" in swept:
        return "experiments"
    if request.typed.experiment:
        return request.typed.experiment
    has_data = any(key.partition(".")[0] == "dataset" or key == "DATASETS.TRAIN" for key in swept)
    has_model = any(key in ("model", "MODEL.META_ARCHITECTURE") for key in swept)
    return group_named("models" if has_model else model_of(request), "data" if has_data else data_of(request))


def _name_of(request: RunRequest, fixed: Sequence[str], swept: Sequence[str]) -> str:
    if request.sweep.name:
        return PREFIX + request.sweep.name
    if request.run.name and "run.name" not in swept:
        return request.run.name
    return PREFIX + _derived(request, fixed, swept)


def _derived(request: RunRequest, fixed: Sequence[str], swept: Sequence[str]) -> str:
    shared = settings_that_matter(fixed)
    keys = [_short(key, request.keys) for key in sorted(swept)]
    parts = [*keys, *([_text_of_shared(shared, request)] if shared else [])]
    text = ",".join(part for part in parts if part) or "default"
    if len(text) <= LONGEST_NAME:
        return text
    digest = digest_of({**dict.fromkeys(swept, ""), **shared})
    return f"{text[:LONGEST_NAME].rstrip('+_,=.-')}-{digest}"


def _text_of_shared(shared: Mapping[str, str], request: RunRequest) -> str:
    """Empty where the group says it all."""
    name = name_of(shared, request)
    if name.text == "default":
        return ""
    return name.text if name.is_complete or set(shared) <= {"model", "dataset"} else f"{name.text}-{name.digest}"


def _short(key: str, keys: Keys) -> str:
    return shortest_key(key, keys).replace("/", "_")
