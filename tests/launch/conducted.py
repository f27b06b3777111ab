"""A session without a machine: what is seen, claimed and done comes from lists."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from launcher.config.request import RunRequest, RunSettings
from launcher.data.plan import DatasetPlan
from launcher.device.bfloat16 import Bfloat16Facts
from launcher.device.facts import DeviceFacts
from launcher.device.job import ALONE
from launcher.launch.board import Board
from launcher.launch.claims import Claim, GpusTakenError, HandedOver
from launcher.launch.meeting import MeetingFacts
from launcher.launch.session import Session
from launcher.run.outcome import Outcome
from launcher.run.plan import RunPlan
from tests.device.recorded import NO_GPU
from tests.values import NO_DATA, a_request, finished_after

NOTHING_MEASURED = Bfloat16Facts(layers=(), problem="")
KEYS: Mapping[str, Any] = {
    "OUTPUT_DIR": "./output",
    "SEED": 1,
    "MODEL": {"DEVICE": "cuda", "WEIGHTS": ""},
    "SOLVER": {"MAX_ITER": 100, "IMS_PER_BATCH": 2, "AMP": {"ENABLED": False}, "REFERENCE_WORLD_SIZE": 0},
    "DATALOADER": {"NUM_WORKERS": 4},
    "DATASETS": {"TRAIN": ["a_train"], "TEST": []},
    "TEST": {"EVAL_PERIOD": 0},
}


def request_in(folder: Path, **settings: Any) -> RunRequest:
    """A request for the run `model-a/run` below the folder."""
    run = RunSettings(root=str(folder), name="run", **settings.pop("run", {}))
    return a_request(KEYS, run=run, **settings)


@dataclass
class World:
    """What there is, and what has been done to it."""

    facts: Sequence[DeviceFacts] = (NO_GPU,)
    """Seen one after the other; the last one from then on."""
    ends: Sequence[Outcome] = (finished_after(100),)
    """Of the attempts, one after the other."""
    bfloat16: Bfloat16Facts = NOTHING_MEASURED
    board: Board | None = None
    meeting: MeetingFacts | None = None
    """Where several nodes meet; None for one."""
    taken: Sequence[Mapping[str, str]] = ()
    """By others at the first, the second, … time that GPUs are claimed."""
    plan_data: Callable[[RunRequest], DatasetPlan] = lambda _: NO_DATA
    sleep: Callable[[float], None] = lambda _: None
    meanwhile: Callable[[RunPlan], None] = lambda _: None
    """What happens while an attempt runs."""
    carried_out: list[RunPlan] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)
    inherited: list[Sequence[int]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    looked_at_data: int = 0
    looked_at_devices: int = 0
    measured: int = 0
    handed_over: HandedOver = field(default_factory=HandedOver)
    claimed: set[str] = field(default_factory=set)
    """Now."""
    printed: io.StringIO = field(default_factory=io.StringIO)

    def session(self) -> Session:
        return Session(
            command=("launcher", "train"),
            environ={"HOME": "/home/me"},
            console=Console(file=self.printed, soft_wrap=True),
            board=self.board or Board(Path("nowhere"), ALONE, patience_s=1.0, now=lambda: 0.0, sleep=self._sleep),
            look_at_meeting=lambda: self.meeting,
            plan_data=self._plan_data,
            look=self._look,
            measure_bfloat16=self._measure_bfloat16,
            look_at_claims=lambda _: {},
            claim=self._claim,
            handed_over=self.handed_over,
            now=lambda: 1000.0,
            sleep=self._sleep,
            execute=self._execute,
        )

    @property
    def text(self) -> str:
        return self.printed.getvalue()

    def _plan_data(self, request: RunRequest) -> DatasetPlan:
        self.looked_at_data += 1
        return self.plan_data(request)

    def _look(self, _: RunRequest) -> DeviceFacts:
        self.looked_at_devices += 1
        return self.facts[min(self.looked_at_devices, len(self.facts)) - 1]

    def _measure_bfloat16(self, *_: object) -> Bfloat16Facts:
        self.measured += 1
        return self.bfloat16

    @contextmanager
    def _claim(self, uuids: Collection[str]) -> Iterator[Claim]:
        taken, *self.taken = self.taken or ({},)
        if taken:
            raise GpusTakenError(taken)
        assert not self.claimed & set(uuids), "a lock that is held already is waited for in vain"
        self.claimed |= set(uuids)
        try:
            yield Claim(descriptors=tuple(range(100, 100 + len(uuids))))
        finally:
            self.claimed -= set(uuids)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.sleep(seconds)

    def _execute(self, plan: RunPlan, environment: Mapping[str, str], *, inherited: Sequence[int]) -> Outcome:
        self.carried_out.append(plan)
        self.environments.append(environment)
        self.inherited.append(inherited)
        self.meanwhile(plan)
        return self.ends[len(self.carried_out) - 1]
