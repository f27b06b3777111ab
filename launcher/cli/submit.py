"""`launcher submit`: freeze a run and give it to Slurm as a job that resumes it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from launcher.cli.flags import take_flag
from launcher.cluster.freeze import (
    Code,
    Submittable,
    archive_previous,
    freeze,
    keep_code,
    launcher_command,
    look_at_run,
    problems_with_submission,
)
from launcher.cluster.job import Job, cpus_of, lead_of, measured_by, on_the_nodes, time_of
from launcher.cluster.script import batch_script
from launcher.cluster.slurm import RefusedError, jobs_in, submit
from launcher.cluster.states import with_jobs
from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.config.values import write_json
from launcher.errors import ExitCode, RequestError, printable
from launcher.files import write_text
from launcher.launch.folder_lock import lock_folder, refuse_busy, unwritable
from launcher.launch.prepare import plan_data
from launcher.run.found import called
from launcher.run.identity import run_folder
from launcher.run.paths import RunPaths
from launcher.run.plan import Finished
from launcher.run.submission import Submission
from launcher.run.summary import State, summarize

USAGE = """\
usage: launcher submit [--print] SETTING=VALUE...

Freezes the run into its folder and submits a Slurm job that resumes it, however often it is interrupted:
launcher submit experiment=coco cluster=slurm cluster.gpus_per_node=8 cluster.time=24:00:00
--print   print the batch script instead of submitting it: launcher submit --print ... | sbatch
docs/cluster.md has the settings."""


def run(arguments: Sequence[str]) -> int:
    """Submit the run, or print its batch script.

    Raises:
        LauncherError: it is wrong, has been submitted already, or Slurm refuses it.
    """
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return ExitCode.finished
    settings, only_prints = take_flag(arguments, "--print")
    if take_apart(settings).is_multirun:
        sweep = shlex.join(("launcher", "train", "hydra/launcher=slurm_array", *settings))
        raise RequestError(f"launcher submit takes one run, not a sweep. A sweep is one array of jobs: {sweep}")
    command = ("launcher", "submit", *arguments)
    run_hydra(settings, partial(_submit, command=command, only_prints=only_prints), command="launcher submit")
    return ExitCode.finished


def _submit(request: RunRequest, *, command: tuple[str, ...], only_prints: bool) -> None:
    request = on_the_nodes(request)
    paths = RunPaths(run_folder(request))
    _refuse_submitted(paths.folder)
    run = _checked(request, paths)
    if isinstance(run.start, Finished):
        _say(f"nothing to submit: {shlex.quote(called(paths.folder))} is finished")
        return
    if (archived := archive_previous(run)) is not None:
        _say(f"the previous run was renamed to {archived}")
    script = _freeze(run, command)
    if only_prints:
        print(script, end="")
        _say(f"frozen in {paths.folder}; {paths.job_script} is this script")
    else:
        _say_submitted(paths, _hand_over(paths))


def _say(text: str) -> None:
    """Beside the script that may be on standard output."""
    print(printable(text), file=sys.stderr)


def _checked(request: RunRequest, paths: RunPaths) -> Submittable:
    """The run; every problem with its data and its job is reported at once."""
    plan = partial(plan_data, environ=dict(os.environ))
    if problems := problems_with_submission(request, paths, plan):
        raise type(problems[0])("\n".join(map(str, problems)))
    return look_at_run(request, paths, plan)


def _refuse_submitted(folder: Path) -> None:
    refuse_busy(folder)
    (run,) = with_jobs([summarize(folder, time.time())], time.time())
    if run.state in (State.queued, State.running):
        name = shlex.quote(called(folder))
        raise RequestError(
            f"{name} is {run.state.value} already{f', as job {run.job}' if run.job else ''}. "
            f"Watch it: launcher status {name} --follow; to submit it again, first: launcher cancel {name}"
        )


def _freeze(run: Submittable, command: tuple[str, ...]) -> str:
    """Write what the job needs into the run's folder, and return the batch script."""
    paths, here = run.paths, Path.cwd()
    with lock_folder(paths.folder):
        shutil.rmtree(paths.job_snapshot, ignore_errors=True)
        code = keep_code(paths, run.request.cluster.code, here, reuses=False)
        freeze(run, command, code)
        script = batch_script(_job_of(run.request, paths, here, code))
        try:
            write_text(paths.job_script, script)
        except OSError as error:
            raise unwritable(paths.folder, error) from error
    return script


def _job_of(request: RunRequest, paths: RunPaths, here: Path, code: Code) -> Job:
    return Job(
        name=called(paths.folder),
        run=paths.folder,
        array=None,
        working_directory=here,
        command=launcher_command(),
        python_path=code.python_path,
        asked=request.cluster,
        cpus=cpus_of(request),
        time_s=time_of(request.cluster),
        lead_s=lead_of(request.cluster, measured_by(paths)),
    )


def _hand_over(paths: RunPaths) -> str:
    """Submit the script, and note the job in the run's folder."""
    attempts = len(paths.attempt_numbers())
    try:
        job = submit(paths.job_script, _say)
    except RefusedError as error:
        # An answer that came too late is an error too, of a job that was submitted.
        there = jobs_in(paths.folder)
        raise RefusedError(f"{error}\nThe run is frozen in {paths.folder}, and {_what_is_in_slurm(there)}") from error
    submission = Submission(scheduler="slurm", job_id=job, at=time.time(), attempts=attempts)
    write_json(paths.submission, submission)
    return job


def _what_is_in_slurm(there: Sequence[str] | None) -> str:
    if there is None:
        return (
            "squeue does not answer, so nobody knows whether Slurm has its job. Once it answers, type the command "
            'again if none of your jobs is in that folder: squeue --me -o "%i %T %Z"'
        )
    if not there:
        return "nothing was submitted. When that is corrected, type the command again."
    jobs = " ".join(there)
    return f"Slurm has its job nevertheless, {jobs}: leave it, or cancel it with scancel {jobs}"


def _say_submitted(paths: RunPaths, job: str) -> None:
    name = shlex.quote(called(paths.folder))
    lines = [
        f"submitted as job {job}",
        f"  folder   {paths.folder}",
        f"  watch    launcher status {name} --follow",
        f"  output   {output_of(paths, job)}",
        f"  cancel   launcher cancel {name}",
    ]
    print(printable("\n".join(lines)))


def output_of(paths: RunPaths, job: str) -> Path:
    """The file into which Slurm writes what the job prints."""
    return paths.job_script.with_name(f"slurm-{job}.out")
