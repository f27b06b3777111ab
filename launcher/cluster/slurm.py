"""What is asked of Slurm, by its own commands and in their oldest notation."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.cluster.sbatch_variables import overriding_variables
from launcher.errors import LauncherError, RequestError, printable

PATIENCE_S = 10.0
GLANCE_S = 2.0
"""For a list of runs: a host without Slurm's configuration looks for it by DNS, which may take long to say no."""
QUIET_S = 3.0
"""After which sbatch, that usually answers within a second, is said to be waited for."""
FORMAT = "%i|%T|%r|%Z"
"""Of squeue: id, state, reason, folder."""
UNKNOWN_JOB = "Invalid job id"
Report = Callable[[str], None]


class RefusedError(LauncherError):
    """The scheduler does not take a job, in its own words."""

    code = "run.submission_refused"


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What the scheduler says of a job."""

    state: str
    """In Slurm's words, such as PENDING."""
    reason: str
    """Why it waits; empty where nothing is said."""
    in_queue: bool
    """It waits, or runs; otherwise it has ended."""
    folder: str
    """In which it runs, that of a run or a sweep; empty where nothing is said."""

    def __str__(self) -> str:
        return f"{self.state} ({self.reason})" if self.reason else self.state

    def is_of(self, run: Path) -> bool:
        """Whether the queue has it for this run, whose element of an array runs in the sweep's folder.

        Numbers of jobs are used again: it may be another run's.
        """
        return self.in_queue and any(_is_same(self.folder, one) for one in (run, run.parent))


def submit(script: Path, report: Report) -> str:
    """Submit the batch script and return the job's id; what a person has to know meanwhile is reported.

    Raises:
        RequestError: there is no sbatch.
        RefusedError: Slurm takes no such job.
    """
    ignored = overriding_variables(os.fsdecode(script.read_bytes()), os.environ)
    if ignored:
        report(f"note: sbatch goes by the batch script, and not by {', '.join(ignored)} of this shell")
    environ = {name: value for name, value in os.environ.items() if name not in ignored}
    done = _run_sbatch(script, environ, report)
    found = re.search(r"^(\d+)(;.*)?$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        words = _words_of_sbatch(done.stderr or done.stdout)
        raise RefusedError(f"Slurm refuses the job: {words or f'sbatch ended with status {done.returncode}'}")
    return found[1]


def _run_sbatch(script: Path, environ: Mapping[str, str], report: Report) -> subprocess.CompletedProcess[str]:
    """How sbatch ended, and what it printed."""
    command = ["sbatch", "--parsable", str(script)]
    try:
        sbatch = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_take_signals
        )
    except OSError as error:
        raise RequestError(
            f"sbatch cannot be run here ({error.strerror}). On a host of the cluster: sbatch {script}; "
            "without a cluster: launcher train"
        ) from error
    with sbatch:
        try:
            said, errors = _wait_for(sbatch, report)
        except BaseException:
            sbatch.kill()
            raise
    return subprocess.CompletedProcess(command, sbatch.returncode, said, errors)


def _wait_for(sbatch: subprocess.Popen[str], report: Report) -> tuple[str, str]:
    """What it prints on both streams; that it takes long is reported."""
    try:
        return sbatch.communicate(timeout=QUIET_S)
    except subprocess.TimeoutExpired as late:
        words = _words_of_sbatch(os.fsdecode(late.stderr or b"")).rpartition("\n")[2]
        so_far = f" ({words})" if words else ""
        report(f"Slurm has not answered yet{so_far}; sbatch may try for two minutes, and Ctrl-C ends it")
        return sbatch.communicate()


def _words_of_sbatch(printed: str) -> str:
    return printable(printed.strip()).replace("sbatch: error: ", "")


def _take_signals() -> None:
    # Where the queue is full sbatch tries again for two minutes, in which Ctrl-C has to end it.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def look_at_jobs(jobs: Collection[str], patience_s: float = PATIENCE_S) -> Mapping[str, JobState] | None:
    """What Slurm says of each; a job of which it says nothing has ended. None where it cannot be asked."""
    ids = sorted(job for job in jobs if re.fullmatch(r"\d+(_\d+)?", job))
    if not ids:
        return {}
    queued = _ask(["squeue", "--noheader", "--array", "-o", FORMAT, "-j", ",".join(ids)], patience_s)
    if queued is None:
        return None
    found = dict(_read_jobs(queued, in_queue=True))
    if ended := [job for job in ids if job not in found]:
        options = ["--noheader", "--parsable2", "-X", "-o", "JobID,State", "-j", ",".join(ended)]
        found.update(_read_jobs(_ask(["sacct", *options], patience_s) or "", in_queue=False))
    return found


def jobs_in(folder: Path) -> list[str] | None:
    """Ids of this user's jobs that wait or run in that folder; None where Slurm cannot be asked."""
    text = _ask(["squeue", "--noheader", "--array", "-u", str(os.getuid()), "-o", FORMAT])
    if text is None:
        return None
    return [job for job, state in _read_jobs(text, in_queue=True) if _is_same(state.folder, folder)]


def elements_in(folder: Path) -> Mapping[int, str] | None:
    """Elements of this user's arrays that wait or run in that folder: their ids, such as `17_3`, by their number.

    None where Slurm cannot be asked.
    """
    there = jobs_in(folder)
    if there is None:
        return None
    return {int(found[1]): job for job in there if (found := re.fullmatch(r"\d+_(\d+)", job))}


def is_in_queue(job: str, run: Path) -> bool:
    """Whether this run's job of that number waits or runs, as far as Slurm can be asked."""
    found = (look_at_jobs([job]) or {}).get(job)
    return found is not None and found.is_of(run)


def largest_element() -> int | None:
    """The largest number that an element of an array may have; None where Slurm does not say."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask(["scontrol", "show", "config"]) or "", re.MULTILINE)
    return int(found[1]) - 1 if found else None


def cancel(jobs: Sequence[str], *options: str) -> str:
    """Cancel jobs, or send them what the options say; returns the command.

    Raises:
        RequestError: there is no scancel.
        LauncherError: Slurm refuses it.
    """
    command = ["scancel", *options, *jobs]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RequestError(
            f"it belongs to job {jobs[0]}, but scancel cannot be run here ({error.strerror}). "
            f"On a host of that cluster: {shlex.join(command)}"
        ) from error
    if done.returncode != 0:
        raise LauncherError(f"{shlex.join(command)} failed: {done.stderr.strip() or f'status {done.returncode}'}")
    return shlex.join(command)


def how_it_ended(job: str) -> JobState | None:
    """What Slurm remembers for some minutes of a job that has ended, also without accounting."""
    text = _ask(["scontrol", "-o", "show", "job", job]) or ""
    found = re.search(r" JobState=(\S+) Reason=(\S+)", text)
    if found is None:
        return None
    return JobState(state=found[1], reason="" if found[2] == "None" else found[2], in_queue=False, folder="")


def _is_same(said: str, folder: Path) -> bool:
    """Whether that is the folder, which Slurm knows by the path that was typed at the submission."""
    return said == str(folder) or (bool(said) and os.path.realpath(said) == os.path.realpath(folder))


def _read_jobs(text: str, *, in_queue: bool) -> Iterator[tuple[str, JobState]]:
    for line in text.splitlines():
        job, state, reason, folder = [*line.strip().split("|", 3), "", "", ""][:4]
        if job and state:
            reason = "" if reason == "None" else reason
            yield job, JobState(state=state, reason=reason, in_queue=in_queue, folder=folder)


def _ask(command: Sequence[str], patience_s: float = PATIENCE_S) -> str | None:
    """What it prints; empty where it knows no such job, None where it cannot be asked."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience_s)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0 or UNKNOWN_JOB in done.stderr:
        return done.stdout
    return None
