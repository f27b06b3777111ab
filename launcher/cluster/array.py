"""The runs of a sweep as one array of Slurm's: each element does what `launcher resume` does for its run."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from launcher.cluster.freeze import Code, Submittable, freeze, launcher_command
from launcher.cluster.job import Array, Job, cpus_of, lead_of, measured_by, time_of
from launcher.cluster.script import batch_script
from launcher.cluster.slurm import RefusedError, Report, elements_in, submit
from launcher.config.request import ClusterSettings, RunRequest
from launcher.config.values import write_json
from launcher.files import write_text
from launcher.launch.folder_lock import lock_folder, unwritable
from launcher.run.attempts import read_attempts
from launcher.run.found import called
from launcher.run.paths import RunPaths
from launcher.run.submission import Submission
from launcher.signals import blocking

CommandOf = Callable[[RunRequest], Sequence[str]]


def submit_array(
    sweep: Path, runs: Mapping[int, Submittable], command_of: CommandOf, code: Code, report: Report
) -> str:
    """Freeze the runs, submit an array with an element of that number for each, and return its id.

    Raises:
        LauncherError: a folder cannot be written, or Slurm refuses the job.
    """
    paths = RunPaths(sweep)
    for run in runs.values():
        with lock_folder(run.paths.folder):
            freeze(run, command_of(run.request), code)
    try:
        write_text(paths.job_script, batch_script(array_job(sweep, runs, code)))
    except OSError as error:
        raise unwritable(sweep, error) from error
    with blocking((signal.SIGINT, signal.SIGTERM)):
        job = _submit(paths.job_script, runs, report)
        for number, run in runs.items():
            note_element(run.paths, f"{job}_{number}")
    return job


def note_element(run: RunPaths, job: str) -> None:
    """Write down that this element of an array is to train the run; it may have begun already."""
    before = [one for one in read_attempts(run) if one.started is None or one.started.job_id != job]
    write_json(run.submission, Submission(scheduler="slurm", job_id=job, at=time.time(), attempts=len(before)))


def array_job(sweep: Path, runs: Mapping[int, Submittable], code: Code) -> Job:
    """The job whose elements are these runs: each gets what the most demanding one needs."""
    requests = [run.request for run in runs.values()]
    asked = requests[0].cluster
    return Job(
        name=called(sweep),
        run=sweep,
        array=Array(runs={number: run.paths.folder for number, run in runs.items()}, at_once=asked.max_parallel),
        working_directory=Path.cwd(),
        command=launcher_command(),
        python_path=code.python_path,
        asked=asked,
        cpus=max(map(cpus_of, requests)),
        time_s=time_of(asked),
        lead_s=max(lead_of(asked, measured_by(run.paths)) for run in runs.values()),
    )


def problems_with_number(number: int, largest: int | None) -> Iterator[str]:
    """`largest` is the highest number that an element may have, where Slurm says it."""
    if largest is not None and number > largest:
        yield (
            f"The sweep has {number} jobs, but an array of this Slurm can have {largest} (MaxArraySize). "
            "Divide the values among several sweeps, each with sweep.name=NAME."
        )


def problems_with_settings(asked: Sequence[ClusterSettings]) -> Iterator[str]:
    """Of the elements, which are one job."""
    if any(one != asked[0] for one in asked):
        yield (
            "Settings of cluster differ from job to job, but all elements of an array have the same. "
            "Make several sweeps, each with sweep.name=NAME."
        )


def _submit(script: Path, numbers: Collection[int], report: Report) -> str:
    sweep = script.parent.parent
    try:
        return submit(script, report)
    except RefusedError as error:
        # An answer that came too late is an error too, of a job that was submitted.
        found = elements_in(sweep)
        there = [job for number, job in found.items() if number in numbers] if found is not None else None
        raise RefusedError(f"{error}\nThe jobs are frozen in {sweep}, and {_what_is_in_slurm(there)}") from error


def _what_is_in_slurm(there: Sequence[str] | None) -> str:
    if there is None:
        return (
            "squeue does not answer, so nobody knows whether Slurm has them. Once it answers, type the command again: "
            "it submits those that Slurm does not have."
        )
    if not there:
        return "nothing was submitted. When that is corrected, type the command again."
    return (
        f"Slurm has them nevertheless. Type the command again to follow them, or cancel them: scancel {' '.join(there)}"
    )
