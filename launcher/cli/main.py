"""The front door: verbs and exit codes. The only place that exits or catches LauncherError."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from launcher.errors import ExitCode, LauncherError

if TYPE_CHECKING:
    from rich.console import Console

    from launcher.config.request import RunRequest
    from launcher.device.facts import DeviceFacts
    from launcher.run.handover import EarlyWorker
    from launcher.run.outcome import Outcome
    from launcher.run.plan import Lessons, RunPlan

USAGE = """\
launcher starts detectron2 trainings on whatever machine is at hand.

  launcher [train] [Hydra arguments]   train, or continue: launcher train +experiment=coco
  launcher plan [Hydra arguments]      what train would do, without doing it        [--json]
  launcher doctor                      which devices work here, and why not         [--json] [--verbose]
  launcher explain [CODE | "TEXT"]     what a code of the doctor, or the text of an error, means
  launcher data demo DIR               write the demo data set
  launcher tensorboard [DIR]           open TensorBoard on this machine only

Settings are Hydra overrides: lower-case for the launcher (device=cpu run.name=first), upper-case for detectron2
(SOLVER.BASE_LR=0.001). `launcher train --help` lists the groups, `launcher train --cfg job` shows the composed
configuration, `-m` sweeps."""


def main_and_exit() -> NoReturn:
    """Entry point of the console script and of `python -m launcher`."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    verb, rest = split_verb(arguments)
    try:
        return int(VERBS[verb](rest))
    except LauncherError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.interrupted)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.finished)


def split_verb(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The verb and what follows it. Hydra takes no positional words, so a leading word can only be a verb."""
    if not arguments:
        return "train", []
    first, *rest = arguments
    if first in VERBS:
        return first, rest
    if first in ("-h", "--help"):
        return "help", rest
    if first == "--version":
        return "version", rest
    if first.startswith(("-", "+", "~")) or "=" in first:
        return "train", list(arguments)
    if first.isupper() or "." in first:
        return "train", list(arguments)  # `SOLVER.BASE_LR 0.1`, detectron2's habit, which the composition corrects
    return "unknown", [first]


def _unknown(arguments: Sequence[str]) -> int:
    from difflib import get_close_matches

    from launcher.errors import RequestError

    near = get_close_matches(arguments[0], SHOWN_VERBS, n=1)
    guess = f" Did you mean `launcher {near[0]}`?" if near else ""
    raise RequestError(f"{arguments[0]} is no verb; there are {', '.join(SHOWN_VERBS)}.{guess}")


def _help(_: Sequence[str]) -> int:
    print(USAGE)
    return ExitCode.finished


def _version(_: Sequence[str]) -> int:
    from launcher import __version__

    print(__version__)
    return ExitCode.finished


def _train(arguments: Sequence[str]) -> int:
    command = ["launcher", "train", *arguments]
    arguments, in_place = _take_flag(arguments, "--in-place")
    # Until a worker runs there is nothing to save: the run can go on as it is, so a scheduler may requeue it.
    with _exiting_on((signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2), int(ExitCode.resumable)):
        from launcher.config.compose import run_hydra

        run_hydra(
            [*arguments, *(["run.in_place=true"] if in_place else [])],
            lambda request: train_one(request, command),
        )
    return ExitCode.finished


@contextlib.contextmanager
def _exiting_on(numbers: Sequence[int], status: int) -> Iterator[None]:
    """These signals end what is in the block like an exception does, so that it cleans up after itself."""
    before = {number: signal.signal(number, lambda *_: sys.exit(status)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _plan(arguments: Sequence[str]) -> int:
    from tempfile import TemporaryDirectory

    from launcher.config.compose import run_hydra

    arguments, as_json = _take_flag(arguments, "--json")
    # Hydra writes down a sweep; of a plan nothing is to stay.
    with TemporaryDirectory() as folder:
        run_hydra(arguments, _printing_plan(as_json), command="launcher plan", sweep_folder=Path(folder))
    return ExitCode.finished


def _doctor(arguments: Sequence[str]) -> int:
    import argparse

    from launcher.device.look.probe import look_at_devices

    parser = argparse.ArgumentParser(prog="launcher doctor", description="Which devices work here, and why not.")
    parser.add_argument("--json", action="store_true", help="verdict, findings and all facts as JSON")
    parser.add_argument("--verbose", action="store_true", help="every finding, with its evidence")
    asked = parser.parse_args(arguments)
    with _exiting_on((signal.SIGTERM,), 128 + signal.SIGTERM):
        facts = look_at_devices(os.environ, full=True, meanwhile=_import_what_shows)
    from rich.console import Console

    from launcher.device.causes.diagnose import diagnose
    from launcher.device.diagnosis import Severity
    from launcher.device.policy.choice import by_default
    from launcher.show.run import doctor_json, show_doctor

    diagnosis = by_default(diagnose(facts))
    if asked.json:
        print(doctor_json(diagnosis, facts))
    else:
        show_doctor(diagnosis, facts, Console(), verbose=asked.verbose)
    broken = any(finding.severity is Severity.error for finding in diagnosis.findings)
    return ExitCode.device_refused if broken else ExitCode.finished


def _import_what_shows() -> None:
    from importlib import import_module

    for name in ("rich.console", "rich.table", "launcher.device.causes.diagnose", "launcher.show.run"):
        import_module(name)


def _explain(arguments: Sequence[str]) -> int:
    from launcher.cli.explain import explanation

    if {"-h", "--help"} & set(arguments):
        print('usage: launcher explain [CODE | GROUP | "TEXT OF AN ERROR"]; alone it lists every code')
        return ExitCode.finished
    print(explanation(" ".join(arguments)))
    return ExitCode.finished


def _data(arguments: Sequence[str]) -> int:
    import argparse

    from launcher.data.demo import write_demo

    parser = argparse.ArgumentParser(prog="launcher data", description="Make data sets.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    demo = kinds.add_parser("demo", help="handwritten digits on photographs: 10 classes, boxes and exact masks")
    demo.add_argument("folder", type=Path)
    demo.add_argument("--train", type=int, default=200, metavar="N", help="training images (200)")
    demo.add_argument("--val", type=int, default=50, metavar="N", help="validation images (50)")
    demo.add_argument("--size", type=int, default=256, metavar="PIXELS", help="side of an image (256)")
    demo.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    write_demo(asked.folder, num_train=asked.train, num_val=asked.val, size=asked.size, seed=asked.seed)
    print(f"{asked.train} training and {asked.val} validation images in {asked.folder}")
    return ExitCode.finished


def _tensorboard(arguments: Sequence[str]) -> int:
    import subprocess

    from launcher.config.request import RunSettings
    from launcher.errors import RequestError

    first, *rest = arguments or [RunSettings().root]
    folder, own = (Path(RunSettings().root), [first, *rest]) if first.startswith("-") else (Path(first), rest)
    if not folder.is_dir():
        raise RequestError(
            f"TensorBoard should show {folder}, but there is no such folder. Name a run: launcher tensorboard DIR"
        )
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1", *own]
    return subprocess.run(command, check=False).returncode


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "plan": _plan,
    "doctor": _doctor,
    "explain": _explain,
    "data": _data,
    "tensorboard": _tensorboard,
    "help": _help,
    "version": _version,
    "unknown": _unknown,
}
SHOWN_VERBS = ("train", "plan", "doctor", "explain", "data", "tensorboard")


def prepare(
    request: RunRequest,
    lessons: Lessons | None = None,
    taken: Mapping[str, str] | None = None,
    began: float | None = None,
    ours: Collection[str] = (),
) -> tuple[DeviceFacts, RunPlan]:
    """From what was asked to what will happen, without side effects.

    `lessons` are those of earlier attempts, `taken` the GPUs (by UUID, with a clause) that others got before us; the
    training `began`, with its first attempt, at that time (seconds since the epoch, now without one), and has claimed
    the GPUs that are `ours`.
    """
    from launcher.data.facts import inspect_dataset
    from launcher.data.plan import plan_dataset
    from launcher.device.causes.diagnose import diagnose
    from launcher.device.look.probe import Deadlines, look_at_devices
    from launcher.device.policy.plan import plan_devices, wants_gpus
    from launcher.launch.claims import claims_folder, look
    from launcher.launch.decide import make_run_plan
    from launcher.run.folder import look_at_folder

    dataset = plan_dataset(request, inspect_dataset(request.dataset, request.keys))
    folder = look_at_folder(request)
    facts = look_at_devices(
        os.environ,
        full=False,
        try_gpus=wants_gpus(request.device, request.keys),
        backend="" if request.device.count == 1 else "nccl",
        deadlines=Deadlines(driver_s=request.device.patience_s),
    )
    diagnosis = diagnose(facts)
    if lessons is not None and lessons.mask_driver:
        diagnosis = replace(diagnosis, driver_is_dangerous=True)
    others = [gpu.uuid for gpu in diagnosis.usable_gpus if gpu.uuid not in ours]
    claimed = {} if request.device.share else look(others, claims_folder())
    avoid = {**claimed, **(taken or {}), **(lessons.avoid_gpus if lessons else {})}
    devices = plan_devices(request.device, request.keys, diagnosis, avoid=avoid, scaling=request.scaling)
    return facts, make_run_plan(
        request,
        devices=devices,
        dataset=dataset,
        folder=folder,
        lessons=lessons,
        began=began or time.time(),
        job_ends=facts.job.ends,
    )


def train_one(request: RunRequest, command: Sequence[str]) -> float | None:
    """Train one composed request to its end and return its main metric, for sweeps; `command` is what was typed.

    Raises:
        LauncherError: it failed; in a sweep the other jobs go on.
        SystemExit: it was stopped; a sweep stops with it.
    """
    from launcher.data.plan import data_environment
    from launcher.run.handover import early_worker
    from launcher.run.identity import run_folder

    if request.run.in_place:
        return _train_prepared(request, command, None)
    environ = {**os.environ, **data_environment(request.dataset)}
    with early_worker(environ, run_folder(request)) as early:
        return _train_prepared(request, command, early)


def _train_prepared(request: RunRequest, command: Sequence[str], early: EarlyWorker | None) -> float | None:
    from launcher.errors import TrainingFailedError
    from launcher.launch.record import locked, set_aside
    from launcher.run.folder import last_outcome
    from launcher.run.outcome import Ending, main_metric
    from launcher.run.plan import Finished, New
    from launcher.show import run as report
    from launcher.show.console import make_console

    console = make_console()
    facts, plan = prepare(request)
    report.show_plan(plan, console)
    folder = Path(plan.folder)
    if isinstance(plan.start, Finished):
        before = last_outcome(folder)
        report.show_outcome(before, plan, console)
        return main_metric(before)
    if isinstance(plan.start, New) and plan.start.archives:
        with locked(folder):
            console.print(f"the former content is now in {set_aside(folder)}", highlight=False)
    with locked(folder) as lock:
        plan, outcome = _attempts(request, command, facts, plan, lock, early, console)
    report.show_outcome(outcome, plan, console)
    if outcome.ending is Ending.finished:
        return main_metric(outcome)
    if outcome.exit_code in (ExitCode.resumable, ExitCode.interrupted):
        raise SystemExit(outcome.exit_code)
    raise TrainingFailedError(report.failure_text(outcome, plan), exit_code=ExitCode(outcome.exit_code))


def _attempts(
    request: RunRequest,
    command: Sequence[str],
    facts: DeviceFacts,
    plan: RunPlan,
    lock: int,
    early: EarlyWorker | None,
    console: Console,
) -> tuple[RunPlan, Outcome]:
    """The plan and the outcome of the last attempt: of the first that ended in order, or that none should follow."""
    from launcher.launch.claims import GpusTakenError, claim, claims_folder
    from launcher.launch.record import record_outcome, record_start
    from launcher.launch.retry import learn, pause_before
    from launcher.run.paths import RunPaths
    from launcher.run.resume import look_for_checkpoints
    from launcher.show import run as report

    began = time.time()
    again = replace(request, resume="auto") if request.resume == "never" else request
    with contextlib.ExitStack() as stack:
        ours: set[str] = set()
        descriptors = [lock]
        while True:
            wanted = set() if request.device.share else set(plan.devices.gpu_uuids) - ours
            try:
                claimed = stack.enter_context(claim(wanted, claims_folder()))
            except GpusTakenError as error:
                before = plan
                facts, plan = prepare(request, plan.lessons, error.taken, began, ours)
                report.show_plan(plan, console, before=before)
                continue
            # Kept until the end: between two attempts somebody else would take them.
            ours |= wanted
            descriptors += claimed.descriptors
            report.show_notices(claimed.notices, console)
            record_start(request, plan, facts, command, os.environ)
            outcome = _carry_out(plan, in_place=request.run.in_place, held=descriptors, early=early)
            if problem := record_outcome(plan, outcome):
                print(f"warning: {problem}", file=sys.stderr)
            if not outcome.code or request.run.in_place:
                return plan, outcome
            point = look_for_checkpoints(RunPaths(Path(plan.folder))).newest_whole
            lessons = learn(plan, outcome, resumes_from=point.next_iteration or 0 if point else 0)
            if lessons is None:
                return plan, outcome
            report.show_retry(outcome, plan, lessons, console)
            time.sleep(pause_before(lessons))
            request, early, before = again, None, plan
            facts, plan = prepare(request, lessons, None, began, ours)
            report.show_plan(plan, console, before=before)


def _printing_plan(as_json: bool) -> Callable[[RunRequest], float | None]:
    def print_plan(request: RunRequest) -> None:
        from launcher.show import run as report
        from launcher.show.console import make_console

        _, plan = prepare(request)
        if as_json:
            print(report.plan_json(plan))
        else:
            report.show_plan(plan, make_console(), composition=True)

    return print_plan


def _carry_out(plan: RunPlan, *, in_place: bool, held: Sequence[int], early: EarlyWorker | None) -> Outcome:
    from launcher.launch.environment import make_driver_mask, worker_environment
    from launcher.launch.supervise import execute, outcome_of
    from launcher.run.outcome import WorkerEnd
    from launcher.run.paths import RunPaths

    attempt = RunPaths(Path(plan.folder)).attempt(plan.attempt)
    mask = make_driver_mask(attempt.driver_mask) if plan.devices.mask_driver else None
    environment = {**worker_environment(plan.devices, os.environ, mask), **plan.data.environment}
    if not in_place:
        return execute(plan, environment, inherited=held, early=early)
    from launcher.train.worker import work

    started = time.monotonic()
    os.environ.clear()
    os.environ.update(environment)
    status = work(attempt.plan, raise_errors=True)
    return outcome_of(attempt, WorkerEnd(exit_status=status, seconds=time.monotonic() - started))


def _take_flag(arguments: Sequence[str], flag: str) -> tuple[list[str], bool]:
    return [argument for argument in arguments if argument != flag], flag in arguments
