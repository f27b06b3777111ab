"""From the overrides of a job to its place in the sweep. Decides only."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser

from launcher.config.arguments import is_hydras, override_for_hydra
from launcher.config.request import RunRequest
from launcher.errors import RequestError
from launcher.sweep.naming import SEED, is_reserved, job_name, key_of
from launcher.sweep.values import Job, Sweep

SEEDS = 2**31
"""One is drawn below that."""
LARGEST_SEED = 2**32 - 1
SWEEPER = "hydra/sweeper="


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A job that was composed, and has a name."""

    name: str
    own: tuple[str, ...]
    """Its own overrides."""
    added: tuple[str, ...]
    """What it is given beside those that the sweeper gave it."""
    request: RunRequest


def planned_job(overrides: Sequence[str], seed: Sequence[str], request: RunRequest, sweep: Sweep) -> Planned:
    """The job of these overrides, with the `seed` that it is given.

    Raises:
        RequestError: its folder would be one of the sweep's own.
    """
    own, repeats = own_of(overrides, sweep), repeat_of(overrides, sweep)
    name = job_name(request, own, repeats=repeats)
    if is_reserved(name):
        raise RequestError(
            f"run.name={name}: a sweep keeps something of its own there, beside its jobs. Choose another name."
        )
    place = (f"hydra.sweep.dir={quoted(str(sweep.folder))}", f"hydra.sweep.subdir={quoted(name)}")
    repeat = (f"{SEED}={repeats}",) if repeats is not None else ()
    return Planned(name=name, own=(*own, *repeat), added=(*seed, *place), request=request)


def own_of(overrides: Sequence[str], sweep: Sweep) -> tuple[str, ...]:
    """Those of the overrides that are swept."""
    return tuple(text.lstrip("+") for text in overrides if key_of(text) in sweep.swept)


def repeat_of(overrides: Sequence[str], sweep: Sweep) -> int | None:
    """The seed of a job that repeats another one; None of any other."""
    if sweep.seed is None:
        return None
    typed = [text.partition("=")[2] for text in overrides if key_of(text) == SEED]
    return int(typed[-1]) if typed and int(typed[-1]) != sweep.seed else None


def repeated(point: Sequence[str], sweep: Sweep) -> Iterator[list[str]]:
    """The jobs of a point, by their overrides: one for each of its seeds."""
    if sweep.seed is None:
        yield list(point)
        return
    without = [text for text in point if key_of(text) != SEED]
    for number in range(sweep.seeds):
        yield [*without, f"{SEED}={sweep.seed + number}"]


def with_jobs(sweep: Sweep, planned: Sequence[Planned]) -> tuple[Job, ...]:
    """Those that there are, and the new ones after them."""
    jobs = {job.folder: job for job in sweep.jobs}
    for one in planned:
        jobs.setdefault(one.name, Job(number=len(jobs), overrides=one.own, folder=one.name))
    return tuple(jobs.values())


def seed_of(request: RunRequest, before: Sweep | None, swept: Sequence[str]) -> int | None:
    """Of all jobs: as asked for, as drawn before, or drawn now; None where SEED itself is swept."""
    if SEED in swept:
        return None
    asked = request.keys.get(SEED, -1)
    if asked >= 0:
        return int(asked)
    return before.seed if before is not None and before.seed is not None else secrets.randbelow(SEEDS)


def refuse_seeds(request: RunRequest, swept: Sequence[str]) -> None:
    """Raises RequestError where a point cannot be repeated as often as is asked for."""
    seeds, asked = request.sweep.seeds, request.keys.get(SEED, -1)
    if seeds > 1 and SEED in swept:
        raise RequestError(f"sweep.seeds={seeds} repeats each point with other seeds, but SEED is swept. Drop one.")
    if asked + seeds - 1 > LARGEST_SEED:
        raise RequestError(f"sweep.seeds={seeds} from SEED={asked} on leads beyond {LARGEST_SEED}. Lower SEED.")


def swept_keys(typed: Sequence[str]) -> tuple[str, ...]:
    """The settings that several values, or a space of them, are given for on a command line."""
    ours = [override_for_hydra(text) for text in typed if not is_hydras(text)]
    overrides = OverridesParser.create().parse_overrides(ours)
    return tuple(dict.fromkeys(key_of(f"{one.get_key_element()}=") for one in overrides if one.is_sweep_override()))


def sweeper_in(typed: Sequence[str]) -> str:
    """The name of the sweeper that a command line asks for."""
    return next((text.removeprefix(SWEEPER) for text in reversed(typed) if text.startswith(SWEEPER)), "grid")


def quoted(text: str) -> str:
    """As a value in Hydra's grammar, whatever is in it."""
    # A backslash stands for itself unless it comes before a quote, or at the end.
    escaped = text.replace("'", "\\'")
    return f"'{escaped}\\'" if escaped.endswith("\\") and not escaped.endswith("\\'") else f"'{escaped}'"
