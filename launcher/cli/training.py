"""One training of `launcher train`: its session, and what its end means for the shell and for sweeps."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from launcher.cli.resumable import STOPPING
from launcher.config.request import RunRequest
from launcher.data.plan import data_environment
from launcher.device.job import JobFacts, read_job
from launcher.device.policy.plan import problem_with_start
from launcher.errors import ExitCode, RequestError, TrainingFailedError
from launcher.launch.attempts import Ended, follow, launch
from launcher.launch.board import Board
from launcher.launch.claims import claim, claims_folder, handed_over, look
from launcher.launch.folder_lock import LOOK_EVERY_S, FolderBusyError
from launcher.launch.inference import evaluation_instead
from launcher.launch.meeting import look_at_meeting
from launcher.launch.prepare import look_for, measure_bfloat16, plan_data
from launcher.launch.pulse import Pulse
from launcher.launch.session import Execute, Session
from launcher.launch.supervise import execute, outcome_of
from launcher.run import codes
from launcher.run.attempts import read_attempts
from launcher.run.handover import FIRST, early_worker, with_short_waits
from launcher.run.identity import run_folder
from launcher.run.outcome import Outcome, WorkerEnd, main_metric
from launcher.run.paths import RunPaths
from launcher.run.plan import Finished, RunPlan
from launcher.run.resume import ResumePoint, look_for_checkpoints
from launcher.run.summary import duration_s
from launcher.safe_start import import_path
from launcher.show.console import make_console
from launcher.show.run import failure_text, show_outcome


def train(request: RunRequest, command: tuple[str, ...]) -> float | None:
    """Train one composed request to its end and return its main metric, for sweeps; `command` is what was typed.

    Raises:
        LauncherError: it failed; in a sweep the other jobs continue.
        SystemExit: it was stopped; a sweep stops with it.
    """
    _refuse_second_launcher(read_job(os.environ))
    board = make_board(request)
    with _executing(request, board) as how:
        session = make_session(request, command, how, board)
        if board.node.rank:
            _exit_with(follow(request, session))
            return None
        ended = launch_job(request, session) if request.typed.folder else launch(request, session)
    if (instead := evaluation_instead(request, ended.plan)) is not None:
        print("The run is finished, so nothing is trained: its final weights are evaluated with these settings.")
        return train(instead, command)
    seconds = duration_s(read_attempts(ended.plan.paths), until=None)
    show_outcome(ended.outcome, ended.plan, make_console(), seconds=seconds, left=_left_by(ended))
    return _result_of(ended)


def _refuse_second_launcher(job: JobFacts) -> None:
    """Before they talk: of two on one node each would take the other's place on the board."""
    launchers, nodes = job.num_tasks, job.node.count
    if nodes > 1 and (problem := problem_with_start(job.started_by, launchers=launchers, nodes=nodes, trains=True)):
        raise RequestError(problem)


def launch_job(request: RunRequest, session: Session) -> Ended:
    """Of a sweep, whose jobs outlive a controller that is killed: another process may be at it until its end."""
    is_told = False
    while True:
        try:
            return launch(request, session)
        except FolderBusyError:
            if not is_told:
                session.console.print("waiting: another process trains in this folder", highlight=False, markup=False)
            is_told = True
            session.sleep(LOOK_EVERY_S)


def make_board(request: RunRequest) -> Board:
    """Where the launchers of this run's nodes talk."""
    return Board(
        RunPaths(run_folder(request)).nodes,
        read_job(os.environ).node,
        patience_s=request.device.nodes_patience_s,
        now=time.monotonic,
        sleep=time.sleep,
        close_ears=partial(signal.pthread_sigmask, signal.SIG_BLOCK, STOPPING),
        pulse=Pulse(),
    )


def make_session(request: RunRequest, command: tuple[str, ...], execute: Execute, board: Board) -> Session:
    """A session on this machine; with `logging.quiet` it prints nothing before the end."""
    folder, environ = claims_folder(), dict(os.environ)
    interface = request.device.interface or environ.get("GLOO_SOCKET_IFNAME", "")
    return Session(
        command=command,
        environ=environ,
        console=make_console(quiet=request.logging.quiet),
        board=board,
        plan_data=partial(plan_data, environ=environ),
        look=partial(look_for, environ=environ),
        look_at_meeting=partial(look_at_meeting, board.node, interface),
        measure_bfloat16=partial(measure_bfloat16, environ=environ),
        look_at_claims=partial(look, folder=folder),
        claim=partial(claim, folder=folder),
        handed_over=handed_over(environ),
        now=time.time,
        sleep=time.sleep,
        execute=execute,
    )


def _left_by(ended: Ended) -> ResumePoint | None:
    """From where a training that was ended at once would resume; reading checkpoints takes its time."""
    is_interrupted = ended.outcome is not None and ended.outcome.code == codes.INTERRUPTED
    return look_for_checkpoints(ended.plan.paths).newest_valid if is_interrupted else None


def _exit_with(exit_code: int) -> None:
    """Raises SystemExit, unless all is well."""
    if exit_code != ExitCode.finished:
        raise SystemExit(exit_code)


def _result_of(ended: Ended) -> float | None:
    plan, outcome = ended.plan, ended.outcome
    if outcome is None or outcome.exit_code == ExitCode.finished or isinstance(plan.start, Finished):
        return main_metric(outcome)
    if outcome.exit_code in (ExitCode.resumable, ExitCode.interrupted):
        raise SystemExit(outcome.exit_code)
    raise TrainingFailedError(
        failure_text(outcome, plan, would_fail_again=ended.would_fail_again), exit_code=ExitCode(outcome.exit_code)
    )


@contextmanager
def _executing(request: RunRequest, board: Board) -> Iterator[Execute]:
    """A worker process that imports torch meanwhile, or this very process for debuggers."""
    if request.run.in_place:
        FIRST.drop()
        yield _execute_in_place
        return
    environ = with_short_waits({**os.environ, **data_environment(request.dataset)})
    with early_worker(environ, board.run) as early:
        yield partial(execute, early=early, others=board)


def _execute_in_place(plan: RunPlan, environment: Mapping[str, str], *, inherited: Sequence[int]) -> Outcome:  # noqa: ARG001
    # Torch, which no other command of the launcher's process imports.
    from launcher.train.worker import work

    started = time.monotonic()
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = import_path(sys.path)  # where the worker finds the user's code
    status = work(plan.file, raise_errors=True)
    return outcome_of(plan.attempt_paths, WorkerEnd(exit_status=status, seconds=time.monotonic() - started))
