"""The surroundings of one launch: its command, its console, and everything with which it touches the world."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console

from launcher.config.request import RunRequest
from launcher.data.plan import DatasetPlan
from launcher.device.bfloat16 import Bfloat16Facts
from launcher.device.facts import DeviceFacts
from launcher.device.policy.plan import DevicePlan
from launcher.launch.board import Board
from launcher.launch.claims import Claim, HandedOver
from launcher.launch.meeting import MeetingFacts
from launcher.run.outcome import Outcome
from launcher.run.plan import RunPlan


class Execute(Protocol):
    """Works off a plan that has been written into its folder."""

    def __call__(self, plan: RunPlan, environment: Mapping[str, str], *, inherited: Sequence[int]) -> Outcome:
        """`inherited` are the files that hold the folder and the GPUs for as long as the worker lives."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """Handed through from the command to whoever needs it; the conductor is tested with another one."""

    command: tuple[str, ...]
    """As typed, for the records."""
    environ: Mapping[str, str]
    console: Console
    plan_data: Callable[[RunRequest], DatasetPlan]
    """Looks at the data sets and decides what to register."""
    look: Callable[[RunRequest], DeviceFacts]
    """Looks at the devices."""
    board: Board
    """On which the launchers of several nodes talk."""
    look_at_meeting: Callable[[], MeetingFacts | None]
    """Where the processes of several nodes can meet; None for one node."""
    measure_bfloat16: Callable[[RunRequest, DevicePlan], Bfloat16Facts]
    """Looks at what bfloat16 does to the request's model on the CPU of that plan."""
    look_at_claims: Callable[[Collection[str]], Mapping[str, str]]
    """Those of the GPUs (by UUID) that others have, each with a clause that says who."""
    claim: Callable[[Collection[str]], AbstractContextManager[Claim]]
    """Takes GPUs until the end of the block; GpusTakenError where others have some of them."""
    handed_over: HandedOver
    """GPUs that whoever started this process has claimed for it."""
    now: Callable[[], float]
    """Seconds since the epoch."""
    sleep: Callable[[float], None]
    execute: Execute
