"""What happened: how a worker ended, and what that means for the exit code."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from launcher.errors import ExitCode

RANK_KILLED = "RankKilled"  # the kind of failure that is noted for a rank that could not do it itself


class Ending(Enum):
    finished = "finished"
    stopped = "stopped"
    """Asked to stop (SIGTERM, SIGINT), saved and can go on."""
    failed = "failed"
    """Ended by itself with an error."""
    out_of_memory = "out_of_memory"
    killed = "killed"
    """Died of a signal without a word: a crash, the OOM killer, or a second Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class WorkerResult:
    """What rank 0 wrote when it ended in order."""

    finished: bool
    iterations: int
    """Done in all attempts together."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Latest evaluation, flat: `bbox/AP` → percent as COCO evaluation gives it."""


@dataclass(frozen=True, kw_only=True)
class WorkerFailure:
    """What a rank wrote when an exception ended it."""

    kind: str
    """Class name of the exception."""
    message: str
    understood: bool
    """The message says what to do; otherwise the traceback is shown."""
    exit_code: int
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt ended."""

    ending: Ending
    exit_code: int
    iterations: int | None
    metrics: Mapping[str, Any]
    seconds: float
    """Wall time of the attempt."""
    explanation: str
    """One sentence, empty where the ending says it all."""
    traceback: str


def classify(
    *,
    exit_status: int,
    stop_signal: int | None,
    killed_by_us: bool,
    result: WorkerResult | None,
    failure: WorkerFailure | None,
    seconds: float,
) -> Outcome:
    """Make an outcome of the worker's exit status (negative: a signal) and of what it wrote down."""
    iterations = result.iterations if result else None
    metrics = result.metrics if result else {}

    def outcome(ending: Ending, exit_code: int, explanation: str = "", traceback: str = "") -> Outcome:
        return Outcome(
            ending=ending,
            exit_code=int(exit_code),
            iterations=iterations,
            metrics=metrics,
            seconds=seconds,
            explanation=explanation,
            traceback=traceback,
        )

    if result is not None and exit_status == 0:
        if result.finished:
            return outcome(Ending.finished, ExitCode.finished)
        return outcome(Ending.stopped, _code_after(stop_signal), f"asked to stop by {_name_of(stop_signal)}")
    if killed_by_us:
        return outcome(Ending.killed, ExitCode.interrupted, "interrupted a second time, so nothing more was saved")
    if failure is not None and stop_signal is not None:
        # A scheduler signals every process of a job, data loaders included.
        why = f"asked to stop by {_name_of(stop_signal)}; while stopping: {failure.message}"
        return outcome(Ending.stopped, _code_after(stop_signal), why)
    if failure is not None:
        ending = Ending.out_of_memory if failure.exit_code == ExitCode.out_of_memory else Ending.failed
        return outcome(
            ending, failure.exit_code, failure.message, traceback="" if failure.understood else failure.traceback
        )
    if stop_signal is not None:
        return outcome(
            Ending.stopped, _code_after(stop_signal), f"{_name_of(stop_signal)} came before training had begun"
        )
    if exit_status < 0:
        return outcome(Ending.killed, ExitCode.training_failed, explain_signal(-exit_status))
    return outcome(
        Ending.failed,
        ExitCode.training_failed,
        f"the training process ended with status {exit_status} without a reason",
    )


HEADLINE_METRICS = ("bbox/AP", "segm/AP", "keypoints/AP", "panoptic_seg/PQ", "sem_seg/mIoU")


def main_metric(outcome: Outcome | None) -> float | None:
    """The one number that stands for a run in a sweep: the first headline metric that it has, in percent."""
    if outcome is None:
        return None
    return next(iter(headlines(outcome.metrics).values()), None)


def headlines(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The headline metrics among all, in their order; of several data sets each under its name."""
    return {
        name: value
        for headline in HEADLINE_METRICS
        for name, value in metrics.items()
        if name == headline or name.endswith(f"/{headline}")
    }


def _code_after(stop_signal: int | None) -> int:
    return ExitCode.interrupted if stop_signal == signal.SIGINT else ExitCode.resumable


def _name_of(number: int | None) -> str:
    return signal.Signals(number).name if number else "a signal"


def explain_signal(number: int, who: str = "the training process") -> str:
    """What it means that a process ended by that signal."""
    name = _name_of(number)
    if number == signal.SIGKILL:
        return f"{who} was killed ({name}); when nobody did it by hand, the machine ran out of memory"
    return f"{who} died of {name}"
