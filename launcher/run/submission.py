"""The scheduler's job that is to train a run, noted in its folder by who submitted it."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.run.attempts import read_plain
from launcher.run.paths import RunPaths


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job that waits, or has waited, in a scheduler's queue."""

    scheduler: str
    job_id: str
    at: float
    """In seconds since the epoch."""
    attempts: int
    """That there were when it was submitted; once there are more, the job has begun."""


def read_submission(paths: RunPaths) -> Submission | None:
    """The latest one; None where none was submitted, or where the file says nothing that can be used."""
    plain = read_plain(paths.submission)
    try:
        return Submission(
            scheduler=str(plain["scheduler"]),
            job_id=str(plain["job_id"]),
            at=float(plain["at"]),
            attempts=int(plain["attempts"]),
        )
    except (LookupError, TypeError, ValueError, OverflowError):  # not there, damaged or of another version
        return None
