"""What the launchers of several nodes say to each other, in files that all of them see: one word per node.

Each node writes its own file and replaces it. The first one reads all of them and passes on what the others need, which
read its word alone. Nothing of an earlier start is believed: its folder has another name, and the first node answers
only to whom it has heard, by the number that the other has drawn.
"""

from __future__ import annotations

import shutil
import socket
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TypeVar

from launcher.config.values import read_json_if_valid, write_json
from launcher.device.job import NodeFacts
from launcher.errors import ExitCode, LauncherError
from launcher.launch.pulse import Pulse, Silence
from launcher.run import codes
from launcher.run.plan import RunPlan

LOOK_EVERY_S = 0.2
LAST_WORDS_S = 20.0
"""For other nodes to write down why their processes ended."""
FAREWELL_S = 5.0
NOT_SHARED = (
    "Either a launcher did not start there, or that folder is not on a disk that all nodes share: set run.root to one "
    "that is."
)
T = TypeVar("T")


class NodeError(LauncherError):
    """A node is missing or cannot do its part; the scheduler may give another."""

    exit_code = ExitCode.resumable
    code = codes.NODE


class Stage(Enum):
    """Of a launcher, in their order; some are the first node's only."""

    here = "here"
    planned = "planned"
    """The first node's: its plan is there."""
    ready = "ready"
    """Another node's: it can do its part of the plan."""
    sick = "sick"
    """It cannot."""
    working = "working"
    ended = "ended"
    """Its processes have."""
    left = "left"
    """Its launcher ends."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """What one node says."""

    host: str
    drawn: str
    """A number that its launcher has drawn, and no other start of it has."""
    stage: Stage
    plan: int = 0
    """The plan that it is about, counted from 1 by the first node."""
    text: str = ""
    exit_code: int = 0
    heard: Mapping[str, str] = field(default_factory=dict)
    """By the first node: what each of the others had drawn."""
    ended: Mapping[str, str] = field(default_factory=dict)
    """By the first node: those of the others, with their hosts, whose processes in this plan's attempt have ended."""


class Board:
    """One node's view of it. On one node alone nobody is asked, and nothing is written."""

    def __init__(
        self,
        folder: Path,
        node: NodeFacts,
        *,
        patience_s: float,
        now: Callable[[], float],
        sleep: Callable[[float], None],
        close_ears: Callable[[], object] = lambda: None,
        pulse: Pulse | None = None,
    ) -> None:
        """`close_ears` is called before the last word: from then on no signal may change how this launcher ends.

        The others see by the `pulse` whether the first node's launcher lives; its thread is on until the last word.
        """
        self.node, self._close_ears = node, close_ears
        self._starts, self._folder = folder, folder / node.start
        self._patience_s, self._now, self._sleep = patience_s, now, sleep
        self._others = [rank for rank in range(node.count) if rank != node.rank]
        self._word = Word(host=node.name or socket.gethostname(), drawn=uuid.uuid4().hex, stage=Stage.here)
        self._pulse, self._silence = pulse, Silence(self._pulse_file)

    @property
    def run(self) -> Path:
        return self._starts.parent

    @property
    def host(self) -> str:
        return self._word.host

    @property
    def _pulse_file(self) -> Path:
        return self._folder / "pulse"

    def _plan_file(self, number: int) -> Path:
        """One name for each plan: a network disk may give out the former content of a file that was replaced."""
        return self._folder / f"plan{number}.json"

    def say(self, stage: Stage, *, plan: int | None = None, text: str = "", exit_code: int = 0) -> None:
        """Raises NodeError where it cannot be written."""
        number = self._word.plan if plan is None else plan
        ended = self._word.ended if number == self._word.plan else {}
        self._word = replace(self._word, stage=stage, plan=number, text=text, exit_code=exit_code, ended=ended)
        self._write()

    def open(self) -> None:
        """By the first node: be there for as long as looking at the data takes.

        Another launch may be at work in the run's folder: nothing but what is said under the name of this start is
        forgotten.
        """
        if self._others:
            shutil.rmtree(self._folder, ignore_errors=True)  # those who have come already come again
            if self._pulse is not None:
                self._pulse.start(self._pulse_file)
        self.say(Stage.here)

    def forget_other_starts(self) -> None:
        """By the first node that holds the run's folder: no other start is at work there."""
        if self._others:
            for folder in set(self._starts.glob("*")) - {self._folder}:
                shutil.rmtree(folder, ignore_errors=True)

    def _take_down(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):  # another start is there
            self._starts.rmdir()

    def word_of(self, rank: int) -> Word | None:
        return read_json_if_valid(self._file(rank), Word)

    def publish(self, plan: RunPlan) -> None:
        """By the first node: give the others the plan, and wait until each can do its part.

        Raises:
            NodeError: one cannot, or did not come.
        """
        if not self._others:
            return
        self._wait(self._all, self._missing)
        self._hand_out(plan, self._word.plan + 1)
        self._wait(self._all_ready, self._silent)

    def begin(self) -> None:
        """By the first node, when the attempt is written down."""
        self.say(Stage.working)

    def refuse(self, number: int, why: str) -> None:
        """By another node: it cannot do its part; returns when the first one has said that of the run."""
        self.say(Stage.sick, plan=number, text=why)
        self._wait_at_most(LAST_WORDS_S, lambda: not self._first_is_there())

    def wait_for_plan(self, last: int) -> Word:
        """By another node: the first one's word, which has a plan after the `last` one, or leaves.

        Raises:
            NodeError: it says neither in time.
        """
        return self._wait(lambda: self._plan_after(last), self._unheard)

    def read_plan(self, number: int) -> RunPlan:
        """By another node: the plan of that number, which the first one has said is there.

        Raises:
            NodeError: it does not come to be seen.
        """
        until = self._now() + self._patience_s
        while (plan := read_json_if_valid(self._plan_file(number), RunPlan)) is None:
            if self._now() > until:
                raise NodeError(f"{self.host} cannot read {self._plan_file(number)}. {NOT_SHARED}")
            self._sleep(LOOK_EVERY_S)
        return plan

    def heard_last(self) -> Word | None:
        """By another node that is asked to stop: the first one's last word; None where it has not left."""
        word = self.word_of(0)
        return word if word is not None and word.stage is Stage.left else None

    def wait_until_begun(self, number: int) -> Word:
        """The same once the attempt may begin."""
        return self._wait(
            lambda: self._answer(lambda word: word.plan != number or word.stage is not Stage.planned), self._unheard
        )

    def wait_until_over(self, number: int, *, was_stopped: bool) -> Word | None:
        """The same once the attempt is over on the first node; None where that says nothing more after a stop."""
        if not was_stopped:
            return self.wait_for_plan(number)
        self._wait_at_most(LAST_WORDS_S, lambda: self._plan_after(number) is not None)
        return self._plan_after(number)

    def leave(self, exit_code: int, text: str = "") -> None:
        """The last word; the first node waits for the others to hear it, and takes the board down."""
        if not self._others:
            return
        if self._pulse is not None:
            self._pulse.stop()
        self._close_ears()
        with suppress(NodeError):
            if self.node.rank:
                self.say(Stage.left, exit_code=exit_code, text=text)
                return
            # Who comes after an error is told by srun; of a run that is finished nobody else would tell.
            self._wait_at_most(FAREWELL_S if exit_code else self._patience_s, self._all)
            self._hear()
            self.say(Stage.left, exit_code=exit_code, text=text)
            self._wait_at_most(FAREWELL_S, self._all_left)
            if self._all_left():
                self._take_down()

    # While the processes of this node run

    def say_ended(self) -> None:
        """The processes of this node have ended."""
        with suppress(NodeError):  # a full disk: the others see how theirs end
            self.say(Stage.ended)

    def ended_elsewhere(self) -> str:
        """The hosts on which the processes of this attempt have ended, or whose launcher has left."""
        ended = self._ended_by_first() if self.node.rank else self._collect_ended()
        return ", ".join(host for rank, host in ended.items() if rank != str(self.node.rank))

    def _collect_ended(self) -> Mapping[str, str]:
        """By the first node, which passes it on."""
        ended = {str(rank): word.host for rank, word in self._words().items() if self._is_over(word)}
        if ended != self._word.ended:
            self._word = replace(self._word, ended=ended)
            with suppress(NodeError):  # a full disk: the others see how theirs end
                self._write()
        return ended

    def _ended_by_first(self) -> Mapping[str, str]:
        word = self.word_of(0)
        if word is None:
            return {}
        return {"0": word.host, **word.ended} if self._is_over(word) else word.ended

    def wait_until_ended(self) -> None:
        """Until it is written down everywhere how the processes ended, or there is no more time for it.

        Only the first node looks into that; the others wait for it alone.
        """
        self._wait_at_most(LAST_WORDS_S, self._first_is_over if self.node.rank else lambda: self._all(self._is_over))

    def _first_is_over(self) -> bool:
        word = self.word_of(0)
        return word is not None and self._is_over(word)

    def _is_over(self, word: Word) -> bool:
        return word.stage is Stage.left or word.plan > self._word.plan or self._has_ended(word)

    def _has_ended(self, word: Word) -> bool:
        return word.plan == self._word.plan and word.stage is Stage.ended

    def _all(self, holds: Callable[[Word], bool] = lambda _: True) -> bool:
        """Whether all others have come, and it holds for each."""
        words = self._words()
        return len(words) == len(self._others) and all(map(holds, words.values()))

    def _words(self) -> dict[int, Word]:
        """What the others, as far as they have come, have said last."""
        words = {rank: self.word_of(rank) for rank in self._others}
        return {rank: word for rank, word in words.items() if word is not None}

    # The first node's

    def _hand_out(self, plan: RunPlan, number: int) -> None:
        self._hear()
        try:
            write_json(self._plan_file(number), plan)
        except OSError as error:
            raise self._unwritable(error) from error
        self.say(Stage.planned, plan=number)

    def _hear(self) -> list[Word]:
        words = self._words()
        drawn = {str(rank): word.drawn for rank, word in words.items()}
        self._word = replace(self._word, heard={**self._word.heard, **drawn})
        return list(words.values())

    def _all_ready(self) -> bool:
        before, words = self._word, self._hear()
        if self._word != before:  # one has come anew
            self._write()
        if sick := [word for word in words if self._cannot(word)]:
            raise NodeError("; ".join(f"{word.host}: {word.text or 'its launcher has ended'}" for word in sick))
        ready = [word for word in words if word.stage is Stage.ready and word.plan == self._word.plan]
        return len(ready) == len(self._others)

    def _all_left(self) -> bool:
        return self._all(lambda word: word.stage is Stage.left)

    def _cannot(self, word: Word) -> bool:
        return word.stage is Stage.left or (word.stage is Stage.sick and word.plan == self._word.plan)

    def _missing(self) -> str:
        there = [word.host for word in self._words().values()]
        return (
            f"{self.node.count - 1 - len(there)} of {self.node.count} nodes did not come to {self.run} within "
            f"{self._patience_s:g} s (here: {', '.join([self.host, *there])}). {NOT_SHARED}"
        )

    def _silent(self) -> str:
        late = [word.host for word in self._words().values() if word.stage is not Stage.ready]
        return f"{', '.join(late) or 'a node'} has not said within {self._patience_s:g} s whether it can do its part."

    # The others'

    def _answer(self, counts: Callable[[Word], bool]) -> Word | None:
        """The first node's word, where it has heard this one and `counts`, or leaves."""
        if not self._file(self.node.rank).exists():  # the first node has begun anew
            self._write()
        word = self.word_of(0)
        if word is None or word.heard.get(str(self.node.rank)) != self._word.drawn:
            return None
        return word if word.stage is Stage.left or counts(word) else None

    def _plan_after(self, last: int) -> Word | None:
        return self._answer(lambda word: word.plan > last)

    def _first_is_there(self) -> bool:
        """It looks at data and devices for as long as it takes, and has a pulse for as long as its launcher lives."""
        word = self.word_of(0)
        return word is not None and word.stage is not Stage.left and not self._silence.is_long(self._now())

    def _unheard(self) -> str:
        return (
            f"{self.host} has heard nothing of the first node, {self.node.head}, in {self.run} for "
            f"{self._patience_s:g} s. {NOT_SHARED}"
        )

    def _wait(self, look: Callable[[], T | None], why: Callable[[], str]) -> T:
        until = self._now() + self._patience_s
        while not (found := look()):
            if self._now() > until and (self.node.rank == 0 or not self._first_is_there()):
                raise NodeError(why())
            self._sleep(LOOK_EVERY_S)
        return found

    def _wait_at_most(self, seconds: float, look: Callable[[], bool]) -> None:
        until = self._now() + seconds
        while not look() and self._now() < until:
            self._sleep(LOOK_EVERY_S)

    def _file(self, rank: int) -> Path:
        return self._folder / f"node{rank}.json"

    def _write(self) -> None:
        if not self._others:
            return
        for is_last in (False, False, True):
            try:
                write_json(self._file(self.node.rank), self._word)
                return
            except FileNotFoundError as error:  # the first node has taken down the board of an earlier start
                if is_last:
                    raise self._unwritable(error) from error
            except OSError as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> NodeError:
        return NodeError(f"{self.host} cannot write into {self._folder} ({error.strerror or error}).")
