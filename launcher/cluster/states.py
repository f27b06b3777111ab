"""The state of a run that was submitted: by its own record first, then by what the scheduler says of its job."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from launcher.cluster.slurm import PATIENCE_S, JobState, how_it_ended, look_at_jobs
from launcher.run import codes
from launcher.run.attempts import read_attempts
from launcher.run.holder import holder_of
from launcher.run.paths import RunPaths
from launcher.run.status import RunStatus, look_at_status
from launcher.run.submission import Submission, read_submission
from launcher.run.summary import RunSummary, State, state_of


def with_jobs(runs: Sequence[RunSummary], now: float, *, patience_s: float = PATIENCE_S) -> list[RunSummary]:
    """The same with the states that follow from the scheduler's; it is asked once, and only about unfinished runs."""
    submissions = {run.folder: submission_of(run) for run in runs}
    jobs = look_at_jobs({one.job_id for one in submissions.values() if one is not None}, patience_s)
    return [with_job(run, submissions[run.folder], jobs, now) for run in runs]


def status_now(folder: Path, lines: int) -> RunStatus:
    """What the run in that folder does at this moment, with so many last lines of its log."""
    now = time.time()
    return status_with_job(look_at_status(folder, now, lines), now)


def status_with_job(status: RunStatus, now: float) -> RunStatus:
    """The same for one run, with the words of the scheduler."""
    run = status.summary
    submission = submission_of(run)
    if submission is None:
        return status
    jobs = look_at_jobs([submission.job_id])
    if jobs is None:
        return replace(status, is_in_queue=None)
    job = _job_of(run, submission, jobs)
    return replace(
        status,
        summary=with_job(run, submission, jobs, now),
        job_state=str(job or how_it_ended(submission.job_id) or ""),
        is_in_queue=job is not None and job.in_queue,
    )


def submission_of(run: RunSummary) -> Submission | None:
    """The latest job of a run that has not finished."""
    return None if run.state is State.finished else read_submission(RunPaths(run.folder))


def _job_of(run: RunSummary, submission: Submission, jobs: Mapping[str, JobState]) -> JobState | None:
    """Of this run, and not of another one whose job has the same number."""
    job = jobs.get(submission.job_id)
    return None if job is None or (job.in_queue and not job.is_of(run.folder)) else job


def with_job(
    run: RunSummary, submission: Submission | None, jobs: Mapping[str, JobState] | None, now: float
) -> RunSummary:
    """The run with the state that follows from the scheduler's jobs; as it is where there are none, or nobody knows."""
    if submission is None or jobs is None:
        return run
    job = _job_of(run, submission, jobs)
    is_over = job is None or not job.in_queue
    state, code = state_with_job(run, job)
    if state is State.queued and is_over:
        paths = RunPaths(run.folder)
        state, code = state_of(read_attempts(paths), None, holder_of(run.folder), now)
    # One that is over may have been followed by a start without a job.
    return replace(run, state=state, code=code, job=run.job if is_over else submission.job_id)


def state_with_job(run: RunSummary, job: JobState | None) -> tuple[State, str]:
    """The state of an unfinished run whose job the scheduler has as `job`, None where it knows none."""
    is_over = job is None or not job.in_queue
    if run.state is State.running and is_over and holder_of(run.folder) is None:
        return State.failed, codes.KILLED  # it began on a node, and nobody has it any more
    if run.state is not State.running and not is_over and job is not None and waits(job):
        return State.queued, codes.NONE
    return run.state, run.code


def waits(job: JobState) -> bool:
    """Whether the job has yet to start, also once more."""
    return job.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "CONFIGURING")
