"""The conductor of one launch: claim, start, wait, learn, and again.

What it needs of the machine comes in through its session; what it writes goes into the run folder. Each of several
nodes has one: that of the first node leads, the others follow its plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from launcher.config.request import RunRequest
from launcher.errors import LauncherError
from launcher.launch.claims import Claims
from launcher.launch.environment import worker_environment, write_empty_libraries
from launcher.launch.folder_lock import lock_folder, wait_for_folder
from launcher.launch.follow import Follow
from launcher.launch.lead import Lead
from launcher.launch.prepare import Prepared, Since, prepare
from launcher.launch.record import archive
from launcher.launch.session import Session
from launcher.run.folder import last_outcome
from launcher.run.identity import run_folder
from launcher.run.outcome import Outcome, would_fail_again
from launcher.run.plan import Finished, New, RunPlan
from launcher.show.run import show_plan


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The last plan of a launch, and how it ended."""

    plan: RunPlan
    outcome: Outcome | None
    """None for a finished run whose outcome can no longer be read."""
    would_fail_again: bool = False
    """The same command would end as this one did."""


class Part(Protocol):
    """What a node has in a launch: the first one leads, the others follow."""

    def begin(self, prepared: Prepared) -> Prepared:
        """The attempt as it is begun: with GPUs that are claimed, and written down."""

    def end(self, plan: RunPlan, outcome: Outcome) -> None:
        """Say how it ended."""

    def plan_next(self, plan: RunPlan, outcome: Outcome) -> Prepared | None:
        """The attempt that follows; None for none."""


def launch(request: RunRequest, session: Session) -> Ended:
    """Do what is asked to its end, in as many attempts as that takes.

    Raises:
        LauncherError: it cannot be started.
    """
    exit_code, why = 1, ""
    try:
        session.board.open()
        ended = _lead(request, session)
        exit_code = ended.outcome.exit_code if ended.outcome is not None else 0
        return ended
    except LauncherError as error:
        exit_code, why = int(error.exit_code), str(error)
        raise
    except SystemExit as stop:
        exit_code = stop.code if isinstance(stop.code, int) else exit_code
        raise
    finally:
        session.board.leave(exit_code, why)


def _lead(request: RunRequest, session: Session) -> Ended:
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
    with lock_folder(folder) as lock, Claims(session.claim, session.handed_over, (lock,)) as claims:
        session.board.forget_other_starts()
        return _attempts(Lead(request, session, claims, since), session, prepared, claims)


def follow(request: RunRequest, session: Session) -> int:
    """Do this node's part of what the first node has planned, and return the exit code that the first node says.

    Raises:
        NodeError: the first node is not to be heard, or this node cannot do its part.
    """
    with Claims(session.claim, session.handed_over) as claims, Follow(request, session, claims) as part:
        try:
            if (prepared := part.first_plan()) is not None:
                _attempts(part, session, prepared, claims)
        except SystemExit as stop:
            # srun asks all launchers to stop once one has ended with an error: it is the first node's that counts.
            raise SystemExit(part.exit_code_after(stop.code)) from None
        return part.exit_code


def _attempts(part: Part, session: Session, prepared: Prepared, claims: Claims) -> Ended:
    """The plan and the outcome of the first attempt that ended in order, or that none should follow."""
    before = last_outcome(Path(prepared.plan.folder))
    while True:
        plan = part.begin(prepared).plan
        outcome = session.execute(plan, environment_of(plan, session.environ), inherited=claims.descriptors)
        part.end(plan, outcome)
        following = part.plan_next(plan, outcome)
        if following is None:
            return Ended(plan=plan, outcome=outcome, would_fail_again=would_fail_again(outcome, before))
        prepared, before = following, outcome


def environment_of(plan: RunPlan, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that the plan's worker gets from a launcher with `environ`.

    A driver library that is to be hidden is hidden now.
    """
    libraries = write_empty_libraries(plan.attempt_paths.empty_libraries) if plan.devices.hide_driver else None
    return {**worker_environment(plan.devices, environ, libraries), **plan.data.environment}
