"""What every node but the first has in a launch: it looks at its devices and does its part of the first one's plan."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from launcher.config.request import RunRequest
from launcher.config.values import write_json
from launcher.device.policy.plan import DevicePlan
from launcher.errors import ExitCode, LauncherError, printable
from launcher.launch.board import NodeError, Stage, Word
from launcher.launch.claims import Claims, GpusTakenError
from launcher.launch.prepare import Prepared, Since, plan_own_devices
from launcher.launch.session import Session
from launcher.run.outcome import Ending, Outcome
from launcher.run.plan import RunPlan


class Follow:
    """The part of a launch that decides nothing but whether this node can do as planned."""

    def __init__(self, request: RunRequest, session: Session, claims: Claims) -> None:
        self._request, self._session, self._claims = request, session, claims
        self._board = session.board
        self._number = 0
        """Of the latest plan."""
        self.exit_code = int(ExitCode.resumable)
        """What the first node says of the launch; before it has, that it may be tried again."""

    def __enter__(self) -> Follow:
        self._board.say(Stage.here)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self._board.leave(self.exit_code, printable(str(error)) if isinstance(error, LauncherError) else "")

    def first_plan(self) -> Prepared | None:
        """The first node's, with this node's devices; None where it leaves without one."""
        return self._prepared_for(self._board.wait_for_plan(last=0))

    def begin(self, prepared: Prepared) -> Prepared:
        """Say that this node is ready, wait until the first one begins, and write down this node's part.

        Raises:
            NodeError: it does not begin.
        """
        self._board.say(Stage.ready, plan=self._number)
        word = self._board.wait_until_begun(self._number)
        if word.plan != self._number or word.stage is Stage.left:
            self.exit_code = word.exit_code or self.exit_code
            error = NodeError(f"the first node, {word.host}, has not begun{f': {word.text}' if word.text else ''}")
            error.exit_code = ExitCode(self.exit_code)
            raise error
        self._board.say(Stage.working)
        plan, attempt = prepared.plan, prepared.plan.attempt_paths
        write_json(attempt.facts_of(plan.nodes.rank), prepared.facts)
        write_json(plan.file, plan)
        return prepared

    def end(self, plan: RunPlan, outcome: Outcome) -> None:
        """The first node writes it down."""

    def plan_next(self, plan: RunPlan, outcome: Outcome) -> Prepared | None:
        """What the first node plans next; None where it is done."""
        word = self._board.wait_until_over(self._number, was_stopped=outcome.ending is Ending.stopped)
        return None if word is None else self._prepared_for(word)

    def exit_code_after(self, asked: object) -> int:
        """That of a launcher which was asked to stop: the first node's, where that has left; otherwise `asked`."""
        last = self._board.heard_last()
        self.exit_code = last.exit_code if last is not None else asked if isinstance(asked, int) else self.exit_code
        return self.exit_code

    def _prepared_for(self, word: Word) -> Prepared | None:
        if word.stage is Stage.left:
            self.exit_code = word.exit_code
            return None
        self._number = word.plan
        try:
            return self._with_own_devices(self._board.read_plan(word.plan))
        except LauncherError as error:
            self._board.refuse(self._number, str(error))
            raise NodeError(f"{self._board.host}: {error}") from error

    def _with_own_devices(self, plan: RunPlan) -> Prepared:
        """Raises LauncherError where this node cannot do its part."""
        facts = self._session.look(self._request)
        since = Since(began=self._session.now(), lessons=plan.lessons, ours=self._claims.uuids)
        devices = plan_own_devices(self._request, self._session, facts, since)
        if problems := [*_differences(plan.devices, devices), *_unseen_files(plan)]:
            raise NodeError("; ".join(problems))
        self._claim(devices)
        nodes = replace(plan.nodes, rank=self._session.board.node.rank)
        return Prepared(facts=facts, plan=replace(plan, devices=_as_planned(devices, plan.devices), nodes=nodes))

    def _claim(self, devices: DevicePlan) -> None:
        wanted = frozenset() if self._request.device.share else frozenset(devices.gpu_uuids)
        try:
            notices = self._claims.take(wanted)
        except GpusTakenError as error:
            raise NodeError(str(error)) from error
        for notice in notices:
            print(printable(notice), file=sys.stderr)


def _as_planned(own: DevicePlan, first: DevicePlan) -> DevicePlan:
    """This node's devices with what has to be the same on all nodes."""
    return replace(own, precision=first.precision, adjustments=first.adjustments, roi_align_by=first.roi_align_by)


def _differences(first: DevicePlan, own: DevicePlan) -> Iterator[str]:
    """In what this node cannot be like the first one."""
    if (own.kind, own.num_processes) != (first.kind, first.num_processes):
        yield (
            f"{_described(own)} here, {_described(first)} on the first node, and all nodes need the same ({own.reason})"
        )
    elif own.kind == "cuda" and (own.precision, own.deformable_by) != (first.precision, first.deformable_by):
        yield f"mixed precision or deformable convolutions are not those of the first node ({own.reason})"


def _described(devices: DevicePlan) -> str:
    number = devices.num_processes
    if devices.kind == "cuda":
        return f"{number} GPU{'' if number == 1 else 's'}"
    return f"{number} process{'' if number == 1 else 'es'} on the CPU"


def _unseen_files(plan: RunPlan) -> Iterator[str]:
    """What the plan reads and this node does not see."""
    files = [path for split in plan.data.splits for path in (split.json, split.images)]
    for path in (*files, *_weights_of(plan)):
        if not Path(path).exists():
            yield f"there is no {path} here; data and weights have to be on a disk that all nodes share"
    for index in (*(split.index for split in plan.data.splits), *plan.data.indexes.values()):
        if index is not None and index.path and not Path(index.path).exists():
            yield f"there is no index {index.path} here: share the home folder among nodes, or set dataset.index=off"


def _weights_of(plan: RunPlan) -> Iterator[str]:
    if plan.resume is not None:
        yield plan.resume.path
        return
    weights = str(plan.keys["MODEL.WEIGHTS"]).partition("?")[0]
    if weights and "://" not in weights:
        yield weights
