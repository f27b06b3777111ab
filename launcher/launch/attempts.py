"""The conductor of one launch: claim, start, wait, learn, and again.

What it needs of the machine comes in through its session; what it writes goes into the run folder.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.config.request import RunRequest
from launcher.errors import printable
from launcher.launch.claims import GpusTakenError
from launcher.launch.environment import worker_environment, write_empty_libraries
from launcher.launch.folder_lock import lock_folder, refuse_moved, wait_for_folder
from launcher.launch.prepare import Prepared, Since, prepare, prepare_again
from launcher.launch.record import archive, record_outcome, record_start
from launcher.launch.retry import learn, pause_before
from launcher.launch.session import Session
from launcher.run.folder import last_outcome
from launcher.run.identity import run_folder
from launcher.run.outcome import Outcome, would_fail_again
from launcher.run.plan import Finished, Lessons, New, Predict, RunPlan, Train
from launcher.run.resume import look_for_checkpoints
from launcher.run.work import count_done
from launcher.show.run import show_notices, show_plan, show_retry


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The last plan of a launch, and how it ended."""

    plan: RunPlan
    outcome: Outcome | None
    """None for a finished run whose outcome can no longer be read."""
    would_fail_again: bool = False
    """The same command would end as this one did."""


def launch(request: RunRequest, session: Session) -> Ended:
    """Do what is asked to its end, in as many attempts as that takes.

    Raises:
        LauncherError: it cannot be started.
    """
    since = Since(began=session.now(), ours=session.handed_over.uuids)
    wait_for_folder(run_folder(request), session.console, session.sleep)
    prepared = prepare(request, session, since)
    show_plan(prepared.plan, session.console)
    folder, start = Path(prepared.plan.folder), prepared.plan.start
    if isinstance(start, Finished):
        return Ended(plan=prepared.plan, outcome=last_outcome(folder))
    if isinstance(start, New) and start.archives:
        with lock_folder(folder):
            session.console.print(f"the previous run was renamed to {archive(folder)}", highlight=False, markup=False)
    with lock_folder(folder) as lock, _Claims(session, lock) as claims:
        return _attempts(request, session, prepared, claims, since)


class _Claims(ExitStack):
    """The GPUs of this launch: kept until the end of the block, because between two attempts others would take them."""

    def __init__(self, session: Session, lock: int) -> None:
        super().__init__()
        self._session = session
        self.uuids: frozenset[str] = session.handed_over.uuids
        self.descriptors: tuple[int, ...] = (lock, *session.handed_over.descriptors)
        """To be inherited by the worker: what holds the folder, and the GPUs."""

    def take(self, uuids: frozenset[str]) -> None:
        """Raises GpusTakenError where others have some of them."""
        claimed = self.enter_context(self._session.claim(uuids - self.uuids))
        self.uuids |= uuids
        self.descriptors += claimed.descriptors
        show_notices(claimed.notices, self._session.console)


def _attempts(request: RunRequest, session: Session, prepared: Prepared, claims: _Claims, since: Since) -> Ended:
    """The plan and the outcome of the first attempt that ended in order, or that none should follow."""
    before = last_outcome(Path(prepared.plan.folder))
    while True:
        prepared = _with_gpus(request, session, prepared, claims, since)
        plan = prepared.plan
        outcome = _carry_out(request, session, prepared, claims)
        lessons = None if request.run.in_place else _lessons_of(plan, outcome)
        if lessons is None:
            return Ended(plan=plan, outcome=outcome, would_fail_again=would_fail_again(outcome, before))
        show_retry(outcome, plan, lessons, session.console)
        session.sleep(pause_before(lessons))
        before = outcome
        if request.resume == "never":  # the first attempt has started over
            request = replace(request, resume="auto")
        since = replace(since, lessons=lessons, ours=claims.uuids)
        prepared = prepare_again(request, session, plan.data, since)
        show_plan(prepared.plan, session.console, before=plan)


def _with_gpus(request: RunRequest, session: Session, prepared: Prepared, claims: _Claims, since: Since) -> Prepared:
    """The same when its GPUs could be claimed, else a plan without those that somebody took meanwhile."""
    while True:
        wanted = frozenset() if request.device.share else frozenset(prepared.plan.devices.gpu_uuids)
        try:
            claims.take(wanted)
            return prepared
        except GpusTakenError as error:
            before = prepared.plan
            now = replace(since, lessons=before.lessons, taken=error.taken, ours=claims.uuids)
            prepared = prepare_again(request, session, before.data, now)
            show_plan(prepared.plan, session.console, before=before)


def _carry_out(request: RunRequest, session: Session, prepared: Prepared, claims: _Claims) -> Outcome:
    plan = prepared.plan
    record_start(request, plan, prepared.facts, session.command, session.environ, at=session.now())
    outcome = session.execute(plan, environment_of(plan, session), inherited=claims.descriptors)
    refuse_moved(plan.paths.folder, claims.descriptors[0])
    if problem := record_outcome(plan, outcome):
        print(printable(f"warning: {problem}"), file=sys.stderr)
    return outcome


def environment_of(plan: RunPlan, session: Session) -> dict[str, str]:
    """The variables that the plan's worker gets; a driver library that is to be hidden is hidden now."""
    libraries = write_empty_libraries(plan.attempt_paths.empty_libraries) if plan.devices.hide_driver else None
    return {**worker_environment(plan.devices, session.environ, libraries), **plan.data.environment}


def _lessons_of(plan: RunPlan, outcome: Outcome) -> Lessons | None:
    if not outcome.code:
        return None
    return learn(plan, outcome, resumes_from=_done_after(plan))


def _done_after(plan: RunPlan) -> int:
    """The iterations, or images, that a next attempt would find done."""
    if not isinstance(plan.task, Train):
        return count_done(plan.paths, plan.task.files if isinstance(plan.task, Predict) else ())
    point = look_for_checkpoints(plan.paths).newest_valid
    return point.next_iteration or 0 if point else 0
