"""What happened: how a worker ended, and what that means for the exit code."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from launcher.config.request import EarlyStoppingSettings
from launcher.errors import ExitCode
from launcher.run import codes

COULD_NOT_WRITE = 74  # the exit status of a worker that failed and could not write why; EX_IOERR of sysexits.h
RANK_KILLED = "RankKilled"  # the kind of failure that is noted for a rank that could not do it itself

TIME_LIMIT = "the time limit"
"""What asked a training to stop when the clock did."""


class Ending(Enum):
    finished = "finished"
    stopped = "stopped"
    """Asked to stop (SIGTERM, SIGINT), saved and can be resumed."""
    pruned = "pruned"
    """Asked to stop by a search, which expects nothing of it any more; saved, and can be resumed by name."""
    failed = "failed"
    """Ended by itself with an error."""
    out_of_memory = "out_of_memory"
    killed = "killed"
    """Ended by a signal: a crash, the OOM killer, a hang, or a second Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """A training ended before its last iteration because a metric no longer improved."""

    asked: EarlyStoppingSettings
    best: float | None
    """None when the metric was NaN or Inf in every evaluation."""
    evaluations: int
    """In a row without improvement."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Why a search stopped a training."""

    metric: str
    value: float
    """Of the evaluation by which it was judged."""
    iterations: int
    """Done before that evaluation."""
    pruner: str
    """That judged it, by its name in `search.pruner`."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a training has done."""

    iterations: int | None
    """In all attempts together; None where nobody knows."""
    metrics: Mapping[str, Any]
    """Latest evaluation, flat: `bbox/AP` → percent as COCO evaluation gives it."""
    stopped_early: EarlyStop | None
    bad_images: int
    """Training images that this attempt could not use."""
    bad_test_images: int
    """Images of DATASETS.TEST that this attempt could not read and evaluated as images without detections."""
    data_wait: float | None = None
    """Fraction of this attempt's time that went by until batches were there; None after too few iterations."""

    @classmethod
    def of(cls, iterations: int | None) -> Work:
        """Where nothing but the number of iterations is known."""
        return cls(iterations=iterations, metrics={}, stopped_early=None, bad_images=0, bad_test_images=0)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Where an attempt failed."""

    rank: int
    """Which process failed first."""
    stage: str
    """The stage of the last heartbeat."""
    cuda_code: int | None
    """The error that CUDA returned, where it was one."""
    traceback: str
    """Empty where the explanation says what to do."""
    kind: str = ""
    """Class name of the exception, where one ended it."""
    place: str = ""
    """Where it was raised, as in `WorkerFailure`."""


@dataclass(frozen=True, kw_only=True)
class WorkerResult:
    """What rank 0 wrote when it ended in order."""

    finished: bool
    stopped_by: str
    """What asked it to stop when no signal did; empty otherwise."""
    work: Work
    code: str = codes.NONE
    """Of what could not be done, although the rest was."""
    explanation: str = ""
    """One sentence about that."""


@dataclass(frozen=True, kw_only=True)
class WorkerFailure:
    """What a rank wrote when an exception ended it."""

    kind: str
    """Class name of the exception."""
    message: str
    understood: bool
    """The message says what to do; otherwise the traceback is shown."""
    exit_code: int
    code: str
    """Of the cause, see `launcher.run.codes`."""
    traceback: str
    cuda_code: int | None = None
    signal: int = 0
    """That ended the rank, where one did."""
    rank: int = 0
    place: str = ""
    """`FILE:FUNCTION` where it was raised; empty where it came from the system, whose state may be another later."""


@dataclass(frozen=True, kw_only=True)
class WorkerEnd:
    """How the worker process ended, seen from outside."""

    exit_status: int
    """Negative: the signal that ended it."""
    stop_signal: int | None = None
    """With which we were asked to stop it."""
    killed_by_us: bool = False
    """After a second Ctrl-C."""
    hung_in: str = ""
    """The stage in which it made no progress and was killed."""
    abandoned_by: str = ""
    """The hosts whose processes ended, so that it waited for them in vain and was killed."""
    patience_s: float = 0.0
    """For how long it had made none."""
    memory_kills: int = 0
    """How many processes the kernel killed meanwhile because memory ran out."""
    stage: str = ""
    """The stage of its last heartbeat."""
    iterations: int | None = None
    """Done by its last heartbeat, in all attempts together."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one attempt ended."""

    ending: Ending
    exit_code: int
    code: str
    """Of what made it fail, as `launcher explain` takes it; empty where nothing failed."""
    explanation: str
    """One sentence, empty where the ending says it all."""
    seconds: float
    """Wall time of the attempt."""
    work: Work
    fault: Fault | None
    """None where nothing failed."""


def classify(
    end: WorkerEnd, *, result: WorkerResult | None, failure: WorkerFailure | None, pruned: Pruned | None = None
) -> Outcome:
    """Make an outcome of how the worker ended, of what it wrote down, and of why a search `pruned` it, if one did."""
    outcome = _classify(end, result=result, failure=failure)
    if pruned is None or outcome.ending is not Ending.stopped:
        return outcome
    return replace(outcome, ending=Ending.pruned, exit_code=ExitCode.finished, explanation=explain_pruned(pruned))


def _classify(end: WorkerEnd, *, result: WorkerResult | None, failure: WorkerFailure | None) -> Outcome:
    if end.killed_by_us:
        why = "ended by a second Ctrl-C; nothing more was saved"
        return _failed(end, Ending.killed, ExitCode.interrupted, codes.INTERRUPTED, why)
    if result is not None:
        # Written when all was done and saved, so how the process ended after that changes nothing.
        return _in_order(end, result)
    if end.stop_signal is not None:
        # A scheduler signals every process of a job, data loaders included.
        why = f"asked to stop by {_name_of(end.stop_signal)}, {_while_stopping(end, failure)}"
        return _stopped(end, why, Work.of(end.iterations))
    by_kernel = end.memory_kills > 0 and signal.SIGKILL in (-end.exit_status, failure.signal if failure else 0)
    if by_kernel and not end.hung_in:
        why = "the machine ran out of memory, and the kernel killed the training process"
        return _failed(end, Ending.out_of_memory, ExitCode.out_of_memory, codes.HOST_MEMORY, why)
    return _failed_by(end, failure) if failure is not None else _without_a_word(end)


def _in_order(end: WorkerEnd, result: WorkerResult) -> Outcome:
    stop = result.work.stopped_early
    if not result.finished:
        return _stopped(end, result.stopped_by or f"asked to stop by {_name_of(end.stop_signal)}", result.work)
    return Outcome(
        ending=Ending.finished,
        exit_code=ExitCode.training_failed if result.code else ExitCode.finished,
        code=result.code,
        explanation=result.explanation or (explain_early_stop(stop) if stop else _unclean(end)),
        seconds=end.seconds,
        work=result.work,
        fault=None,
    )


def _stopped(end: WorkerEnd, why: str, work: Work) -> Outcome:
    by_hand = end.stop_signal == signal.SIGINT
    return Outcome(
        ending=Ending.stopped,
        exit_code=ExitCode.interrupted if by_hand else ExitCode.resumable,
        code=codes.NONE,
        explanation=why,
        seconds=end.seconds,
        work=work,
        fault=None,
    )


def _failed(end: WorkerEnd, ending: Ending, exit_code: int, code: str, why: str, fault: Fault | None = None) -> Outcome:
    return Outcome(
        ending=ending,
        exit_code=int(exit_code),
        code=code,
        explanation=why,
        seconds=end.seconds,
        work=Work.of(end.iterations),
        fault=fault or Fault(rank=0, stage=end.stage, cuda_code=None, traceback=""),
    )


def _failed_by(end: WorkerEnd, failure: WorkerFailure) -> Outcome:
    fault = Fault(
        rank=failure.rank,
        stage=end.stage,
        cuda_code=failure.cuda_code,
        traceback="" if failure.understood else failure.traceback,
        kind=failure.kind,
        place=failure.place,
    )
    return _failed(end, _ending_of(failure), failure.exit_code, failure.code, failure.message, fault)


def _without_a_word(end: WorkerEnd) -> Outcome:
    if end.hung_in:
        why = f"hung: no progress in `{end.hung_in}`{_for(end.patience_s)}, worker killed; stacks in stacks.txt"
        return _failed(end, Ending.killed, ExitCode.training_failed, codes.HANG, why)
    if end.abandoned_by:
        why = f"the processes on {end.abandoned_by} ended without reporting an error, and those of this node were ended"
        return _failed(end, Ending.killed, ExitCode.training_failed, codes.KILLED, why)
    if end.exit_status == COULD_NOT_WRITE:
        why = "the error is on the console: it could not be written into the run folder, whose disk may be full"
        return _failed(end, Ending.failed, ExitCode.training_failed, codes.FAILED, why)
    if end.exit_status < 0:
        number = -end.exit_status
        return _failed(end, Ending.killed, ExitCode.training_failed, code_of_signal(number), explain_signal(number))
    why = f"the training process exited with status {end.exit_status} without reporting an error"
    return _failed(end, Ending.failed, ExitCode.training_failed, codes.CRASH, why)


def _for(seconds: float) -> str:
    if not seconds:
        return ""
    return f" for {seconds / 60:g} min" if seconds >= 60 else f" for {seconds:g} s"


def _unclean(end: WorkerEnd) -> str:
    if end.exit_status == 0:
        return ""
    how = "hung or crashed" if end.exit_status < 0 else f"exited with status {end.exit_status}"
    return f"the training process {how} after training had finished"


def _while_stopping(end: WorkerEnd, failure: WorkerFailure | None) -> str:
    if failure is not None:
        return f"while stopping: {failure.message}"
    if end.iterations is None:
        return "before training began"
    how = f"hung in `{end.hung_in}`" if end.hung_in else "ended before it had saved"
    return f"but the training process {how}; the same command resumes from the last checkpoint"


def _ending_of(failure: WorkerFailure) -> Ending:
    if failure.exit_code == ExitCode.out_of_memory:
        return Ending.out_of_memory
    return Ending.killed if failure.code in (codes.CRASH, codes.KILLED) else Ending.failed


HEADLINE_METRICS = ("bbox/AP", "segm/AP", "keypoints/AP", "panoptic_seg/PQ", "sem_seg/mIoU")


def main_metric(outcome: Outcome | None) -> float | None:
    """The one number that stands for a run in a sweep: the first headline metric that it has, in percent."""
    if outcome is None:
        return None
    return next(iter(headlines(outcome.work.metrics).values()), None)


def headlines(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The headline metrics among all, in their order; of several data sets each under its name."""
    return {
        name: value
        for headline in HEADLINE_METRICS
        for name, value in metrics.items()
        if name == headline or name.endswith(f"/{headline}")
    }


def _name_of(number: int | None) -> str:
    return signal.Signals(number).name if number else "a signal"


def code_of_signal(number: int) -> str:
    """The code of a process that ended by that signal."""
    return codes.KILLED if number == signal.SIGKILL else codes.CRASH


def explain_signal(number: int, who: str = "the training process") -> str:
    """Why a process ended by that signal."""
    name = _name_of(number)
    if number == signal.SIGKILL:
        return f"{who} was killed ({name}); unless somebody did that, the machine ran out of memory"
    return f"{who} was terminated by {name}"


def explain_pruned(pruned: Pruned) -> str:
    """Why a training was pruned."""
    return (
        f"{pruned.metric} of {pruned.value:.4g} after {pruned.iterations} iterations was not enough "
        f"for search.pruner={pruned.pruner}"
    )


def explain_early_stop(stop: EarlyStop) -> str:
    """Why a training ended early."""
    if stop.best is None:
        return f"stopped early: {stop.asked.metric} was NaN or Inf in {stop.evaluations} evaluations"
    margin = f" by more than {stop.asked.min_delta:g}" if stop.asked.min_delta else ""
    return (
        f"stopped early: {stop.asked.metric} has not improved on {stop.best:.4g}{margin} "
        f"for {stop.evaluations} evaluations"
    )


def would_fail_again(outcome: Outcome, before: Outcome | None) -> bool:
    """Whether the same command would meet the same exception.

    `before` is the outcome of the attempt before. What comes before the first iteration depends on settings and data
    alone, and so does what has come twice from one place.
    """
    fault = outcome.fault
    if outcome.code != codes.FAILED or fault is None or not fault.place:
        return False
    is_same = before is not None and before.fault is not None and _raised(before.fault) == _raised(fault)
    return outcome.work.iterations is None or is_same


def _raised(fault: Fault) -> tuple[str, str]:
    return fault.kind, fault.place
