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
from launcher.cluster.code import code_state, copy_code
from launcher.cluster.job import Job, cpus_of, lead_of, measured_by, on_the_nodes, problems_with_job, time_of
from launcher.cluster.script import batch_script
from launcher.cluster.slurm import RefusedError, submit
from launcher.cluster.states import with_jobs
from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import JobCode, RunRequest
from launcher.config.values import to_plain, write_json
from launcher.data.plan import DatasetPlan
from launcher.errors import ExitCode, LauncherError, RequestError, printable
from launcher.files import remove, write_text
from launcher.launch.decide import start_on_any_device
from launcher.launch.folder_lock import lock_folder, refuse_busy, unwritable
from launcher.launch.prepare import plan_data
from launcher.launch.record import archive, write_request
from launcher.run.folder import FolderFacts, look_at_folder
from launcher.run.found import called
from launcher.run.identity import identity_of, run_folder
from launcher.run.paths import RunPaths
from launcher.run.plan import Finished, New
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
        raise RequestError("launcher submit takes one run, not a sweep. Submit each by itself, without -m.")
    command = ("launcher", "submit", *arguments)
    run_hydra(settings, partial(_submit, command=command, only_prints=only_prints), command="launcher submit")
    return ExitCode.finished


def _submit(request: RunRequest, *, command: tuple[str, ...], only_prints: bool) -> None:
    request = on_the_nodes(request)
    paths = RunPaths(run_folder(request))
    _refuse_unprintable(paths.folder, Path.cwd())
    _refuse_submitted(paths.folder)
    data, facts = _checked(request, paths)
    start = start_on_any_device(request, dataset=data, folder=facts)
    if isinstance(start, Finished):
        _say(f"nothing to submit: {shlex.quote(called(paths.folder))} is finished")
        return
    if isinstance(start, New) and start.archives:
        with lock_folder(paths.folder):
            _say(f"the previous run was renamed to {archive(paths.folder)}")
    script = _freeze(request, paths, data, command)
    if only_prints:
        print(script, end="")
        _say(f"frozen in {paths.folder}; {paths.job_script} is this script")
    else:
        _say_submitted(paths, _hand_over(paths))


def _say(text: str) -> None:
    """Beside the script that may be on standard output."""
    print(printable(text), file=sys.stderr)


def _checked(request: RunRequest, paths: RunPaths) -> tuple[DatasetPlan, FolderFacts]:
    """What the data and the folder hold; every problem of theirs and the job's is reported at once."""
    problems: list[LauncherError] = []
    if wrong := problems_with_job(request, measured_by(paths)):
        problems.append(RequestError("\n".join(wrong)))
    try:
        data = plan_data(request, dict(os.environ))
    except LauncherError as error:
        problems.append(error)
    if problems:
        raise type(problems[0])("\n".join(map(str, problems)))
    return data, look_at_folder(request)


def _refuse_unprintable(*folders: Path) -> None:
    for folder in map(str, folders):
        if printable(folder) != folder or "\n" in folder or "\t" in folder:
            raise RequestError(
                f"{printable(folder)!r} has a control character, with which no batch script can name it. "
                "Rename that folder, or choose another with run.root=FOLDER."
            )


def _refuse_submitted(folder: Path) -> None:
    refuse_busy(folder)
    (run,) = with_jobs([summarize(folder, time.time())], time.time())
    if run.state in (State.queued, State.running):
        name = shlex.quote(called(folder))
        raise RequestError(
            f"{name} is {run.state.value} already{f', as job {run.job}' if run.job else ''}. "
            f"Watch it: launcher status {name} --follow; to submit it again, first: launcher cancel {name}"
        )


def _freeze(request: RunRequest, paths: RunPaths, data: DatasetPlan, command: tuple[str, ...]) -> str:
    """Write what the job needs into the run's folder, and return the batch script."""
    here = Path.cwd()
    with lock_folder(paths.folder):
        try:
            write_request(request, to_plain(identity_of(request, data.adjustments)), paths, command)
            job = _job_of(request, paths, here)
            script = batch_script(job)
            remove(paths.submission)
            write_text(paths.job_script, script)
        except OSError as error:
            raise unwritable(paths.folder, error) from error
    return script


def _job_of(request: RunRequest, paths: RunPaths, here: Path) -> Job:
    """The job, with the copy of the code that it runs, or a note of which code it is."""
    python_path: tuple[str, ...] = ()
    if request.cluster.code is JobCode.snapshot:
        remove(paths.job_code)
        python_path = copy_code(paths.job_snapshot, here)
    else:
        shutil.rmtree(paths.job_snapshot, ignore_errors=True)
        write_json(paths.job_code, code_state(here))
    return Job(
        name=called(paths.folder),
        run=paths.folder,
        working_directory=here,
        command=_launcher(),
        python_path=python_path,
        asked=request.cluster,
        cpus=cpus_of(request),
        time_s=time_of(request.cluster),
        lead_s=lead_of(request.cluster, measured_by(paths)),
    )


def _launcher() -> tuple[str, ...]:
    """What starts this launcher on any host that shares its files."""
    typed = Path(sys.argv[0])
    is_command = typed.name == "launcher" and typed.is_file() and os.access(typed, os.X_OK)
    return (str(typed.absolute()),) if is_command else (sys.executable, "-m", "launcher")


def _hand_over(paths: RunPaths) -> str:
    """Submit the script, and note the job in the run's folder."""
    attempts = len(paths.attempt_numbers())
    try:
        job = submit(paths.job_script)
    except RefusedError as error:
        raise RefusedError(
            f"{error}\nThe run is frozen in {paths.folder}, and nothing was submitted. "
            "When that is corrected, type the command again."
        ) from error
    submission = Submission(scheduler="slurm", job_id=job, at=time.time(), attempts=attempts)
    write_json(paths.submission, submission)
    return job


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
