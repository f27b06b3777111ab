"""What happened: how a worker ended, and what that means for the exit code."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from launcher.config.request import EarlyStoppingSettings
from launcher.errors import ExitCode

COULD_NOT_WRITE = 74  # the exit status of a worker that failed and could not write why; EX_IOERR of sysexits.h
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


class Cause(Enum):
    """What ended an attempt before its time, as far as it matters for what is to be done next."""

    none = "none"
    device = "device"
    """A GPU failed: CUDA returned an error that is not about memory."""
    device_memory = "device_memory"
    host_memory = "host_memory"
    """The machine's, or the control group's, memory ran out."""
    loader = "loader"
    """A data loader process was killed."""
    crash = "crash"
    """A signal ended the training without a word."""
    hang = "hang"
    diverged = "diverged"
    """The loss or the predictions are no numbers any more."""
    other = "other"


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """A training ended although iterations were left: a metric did not improve any more."""

    asked: EarlyStoppingSettings
    best: float | None
    """None when the metric was no number in any evaluation."""
    evaluations: int
    """In a row without improvement."""


@dataclass(frozen=True, kw_only=True)
class WorkerResult:
    """What rank 0 wrote when it ended in order."""

    finished: bool
    iterations: int
    """Done in all attempts together."""
    stopped_by: str = ""
    """What asked it to stop when no signal did."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Latest evaluation, flat: `bbox/AP` → percent as COCO evaluation gives it."""
    stopped_early: EarlyStop | None = None
    bad_images: int = 0
    """Training images that this attempt could not use."""
    bad_test_images: int = 0
    """Images of DATASETS.TEST that this attempt could not read, and for which blank ones stood in."""


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
    cause: Cause = Cause.other
    cuda_code: int | None = None
    signal: int = 0
    """That the rank died of, where it did."""
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class WorkerEnd:
    """How the worker process ended, seen from outside."""

    exit_status: int
    """Negative: the signal that it died of."""
    stop_signal: int | None = None
    """With which we were asked to stop it."""
    killed_by_us: bool = False
    """After a second Ctrl-C."""
    hung_in: str = ""
    """It showed no progress and was killed; what it was at."""
    memory_kills: int = 0
    """How many processes the kernel killed for want of memory meanwhile."""
    stage: str = ""
    """What it was at, as far as it had said."""
    iterations: int | None = None
    """Done, as far as it had said; in all attempts together."""
    seconds: float = 0.0


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
    cause: Cause = Cause.none
    cuda_code: int | None = None
    """The error that CUDA returned, where it was one."""
    rank: int = 0
    """Which process failed first."""
    stage: str = ""
    """What the training was at in the end, as far as it had said."""
    stopped_early: EarlyStop | None = None
    bad_images: int = 0
    """Training images that this attempt could not use."""
    bad_test_images: int = 0
    """Images of DATASETS.TEST that this attempt could not read, and for which blank ones stood in."""


def classify(end: WorkerEnd, *, result: WorkerResult | None, failure: WorkerFailure | None) -> Outcome:
    """Make an outcome of how the worker ended and of what it wrote down."""
    if result is not None and not end.killed_by_us:
        # Written when all was done and saved, so how the process ended after that changes nothing.
        if result.finished:
            why = explain_early_stop(result.stopped_early) if result.stopped_early else _unclean(end)
            return _outcome(end, Ending.finished, ExitCode.finished, why, result=result)
        why = result.stopped_by or f"asked to stop by {_name_of(end.stop_signal)}"
        return _outcome(end, Ending.stopped, _code_after(end.stop_signal), why, result=result)
    if end.killed_by_us:
        why = "interrupted a second time, so nothing more was saved"
        return _outcome(end, Ending.killed, ExitCode.interrupted, why)
    if end.stop_signal is not None:
        # A scheduler signals every process of a job, data loaders included.
        why = f"asked to stop by {_name_of(end.stop_signal)}, {_while_stopping(end, failure)}"
        return _outcome(end, Ending.stopped, _code_after(end.stop_signal), why)
    by_kernel = end.memory_kills > 0 and signal.SIGKILL in (-end.exit_status, failure.signal if failure else 0)
    if by_kernel and not end.hung_in:
        why = "the machine ran out of memory, and the kernel killed the training process"
        return _outcome(end, Ending.out_of_memory, ExitCode.out_of_memory, why, cause=Cause.host_memory)
    if failure is not None:
        return _outcome(end, _ending_of(failure), failure.exit_code, failure.message, failure=failure)
    if end.hung_in:
        why = f"no progress any more in `{end.hung_in}`, so the training process was ended"
        return _outcome(end, Ending.killed, ExitCode.training_failed, why, cause=Cause.hang)
    if end.exit_status == COULD_NOT_WRITE:
        why = "the reason is on the console: it could not be written into the run folder, whose disk may be full"
        return _outcome(end, Ending.failed, ExitCode.training_failed, why, cause=Cause.other)
    if end.exit_status < 0:
        return _outcome(
            end, Ending.killed, ExitCode.training_failed, explain_signal(-end.exit_status), cause=Cause.crash
        )
    why = f"the training process ended with status {end.exit_status} without a reason"
    return _outcome(end, Ending.failed, ExitCode.training_failed, why, cause=Cause.crash)


def _unclean(end: WorkerEnd) -> str:
    if end.exit_status == 0:
        return ""
    return "the training process hung or crashed after all was done" if end.exit_status < 0 else "and ended uncleanly"


def _while_stopping(end: WorkerEnd, failure: WorkerFailure | None) -> str:
    if failure is not None:
        return f"while stopping: {failure.message}"
    if end.iterations is None:
        return "which came before training had begun"
    how = f"hung in `{end.hung_in}`" if end.hung_in else "ended without a word"
    return f"and then it {how}; it goes on from its last checkpoint"


def _outcome(
    end: WorkerEnd,
    ending: Ending,
    exit_code: int,
    explanation: str = "",
    *,
    result: WorkerResult | None = None,
    failure: WorkerFailure | None = None,
    cause: Cause = Cause.none,
) -> Outcome:
    return Outcome(
        ending=ending,
        exit_code=int(exit_code),
        iterations=result.iterations if result else end.iterations,
        metrics=result.metrics if result else {},
        seconds=end.seconds,
        explanation=explanation,
        traceback=failure.traceback if failure and not failure.understood else "",
        cause=failure.cause if failure else cause,
        cuda_code=failure.cuda_code if failure else None,
        rank=failure.rank if failure else 0,
        stage=end.stage,
        stopped_early=result.stopped_early if result else None,
        bad_images=result.bad_images if result else 0,
        bad_test_images=result.bad_test_images if result else 0,
    )


def _ending_of(failure: WorkerFailure) -> Ending:
    if failure.exit_code == ExitCode.out_of_memory:
        return Ending.out_of_memory
    return Ending.killed if failure.cause is Cause.crash else Ending.failed


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


def explain_early_stop(stop: EarlyStop) -> str:
    """Why a training ended early."""
    if stop.best is None:
        return f"stopped early: {stop.asked.metric} was no number in {stop.evaluations} evaluations"
    margin = f" by more than {stop.asked.min_delta:g}" if stop.asked.min_delta else ""
    return (
        f"stopped early: {stop.asked.metric} has not improved on {stop.best:.4g}{margin} "
        f"for {stop.evaluations} evaluations"
    )
