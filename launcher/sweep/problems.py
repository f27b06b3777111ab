"""What is wrong with the jobs of a sweep, said once."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.errors import RequestError

SHOWN = 3


def refuse_problems(found: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Let only jobs pass that can be meant; each comes with a name.

    Raises:
        RequestError: it has every problem of every job.
    """
    lines = group_problems(found, of=len(found))
    if lines:
        raise RequestError("\n".join([*lines, *(["No job was started."] if len(found) > 1 else [])]))


def group_problems(found: Sequence[tuple[str, Sequence[str]]], *, of: int) -> list[str]:
    """Every problem once, with the jobs that have it; `of` is the number of all jobs."""
    jobs_of: dict[str, list[str]] = {}
    for name, problems in found:
        for problem in problems:
            jobs_of.setdefault(problem, []).append(name)
    return [_said(problem, jobs, of) for problem, jobs in jobs_of.items()]


def _said(problem: str, jobs: Sequence[str], of: int) -> str:
    """A problem of all jobs is the command's."""
    if len(jobs) == of:
        return problem
    more = f" and {len(jobs) - SHOWN} more" if len(jobs) > SHOWN else ""
    return f"{', '.join(jobs[:SHOWN])}{more}: {problem}"
