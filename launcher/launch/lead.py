"""What the first node, or the only one, has in a launch: it plans, writes down, and learns from how attempts end."""

from __future__ import annotations

from dataclasses import replace

from launcher.config.request import RunRequest
from launcher.launch.claims import Claims, GpusTakenError
from launcher.launch.folder_lock import refuse_moved
from launcher.launch.prepare import Prepared, Since, prepare_again
from launcher.launch.record import record_outcome, record_start
from launcher.launch.retry import learn, pause_before
from launcher.launch.session import Session
from launcher.run.outcome import Outcome
from launcher.run.plan import Lessons, Predict, RunPlan, Train
from launcher.run.resume import look_for_checkpoints
from launcher.run.work import count_done
from launcher.show.colors import show_on_stderr
from launcher.show.run import show_notices, show_plan, show_retry


class Lead:
    """The part of a launch that decides, and writes into the run's folder."""

    def __init__(self, request: RunRequest, session: Session, claims: Claims, since: Since) -> None:
        self._request, self._session, self._claims, self._since = request, session, claims, since

    def begin(self, prepared: Prepared) -> Prepared:
        """Claim the GPUs, have the other nodes get ready, and write the attempt down.

        Raises:
            LauncherError: a node cannot do its part, or the folder cannot be written.
        """
        request, session = self._request, self._session
        prepared = self._with_gpus(prepared)
        session.board.publish(prepared.plan)
        record_start(request, prepared.plan, prepared.facts, session.command, session.environ, at=session.now())
        session.board.begin()
        return prepared

    def _with_gpus(self, prepared: Prepared) -> Prepared:
        """The same when its GPUs could be claimed, else a plan without those that somebody took meanwhile."""
        request, session = self._request, self._session
        while True:
            wanted = frozenset() if request.device.share else frozenset(prepared.plan.devices.gpu_uuids)
            try:
                show_notices(self._claims.take(wanted), session.console)
                return prepared
            except GpusTakenError as error:
                before = prepared.plan
                now = replace(self._since, lessons=before.lessons, taken=error.taken, ours=self._claims.uuids)
                prepared = prepare_again(request, session, before.data, now)
                show_plan(prepared.plan, session.console, before=before)

    def end(self, plan: RunPlan, outcome: Outcome) -> None:
        """Write down how it ended.

        Raises:
            FencedError: the folder is no longer at its place.
        """
        refuse_moved(plan.paths.folder, self._claims.descriptors[0])
        if problem := record_outcome(plan, outcome):
            show_on_stderr(f"warning: {problem}", self._session.environ)

    def plan_next(self, plan: RunPlan, outcome: Outcome) -> Prepared | None:
        """The attempt that what was learned makes worth trying; None where nothing does."""
        request, session = self._request, self._session
        lessons = None if request.run.in_place else _lessons_of(plan, outcome)
        if lessons is None:
            return None
        show_retry(outcome, plan, lessons, session.console)
        session.sleep(pause_before(lessons))
        if request.resume == "never":  # the first attempt has started over
            request = self._request = replace(request, resume="auto")
        self._since = replace(self._since, lessons=lessons, ours=self._claims.uuids)
        prepared = prepare_again(request, session, plan.data, self._since)
        show_plan(prepared.plan, session.console, before=plan)
        return prepared


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
