"""What an exception of a training means, and what to do about it."""

from __future__ import annotations

import errno
import traceback
import urllib.error

import torch

from launcher.errors import ExitCode, LauncherError
from launcher.run.outcome import WorkerFailure


def explain(error: Exception) -> WorkerFailure:
    """Turn the exception that ended a rank into what the launcher reports."""
    understood = _understood(error)
    message, exit_code = understood or (f"{type(error).__name__}: {error}", ExitCode.training_failed)
    return WorkerFailure(
        kind=type(error).__name__,
        message=message,
        understood=understood is not None,
        exit_code=int(exit_code),
        traceback="".join(traceback.format_exception(error)),
    )


def _understood(error: Exception) -> tuple[str, ExitCode] | None:
    """Message with what to do next, and exit code, for the failures that we know."""
    text = " ".join(str(error).split())
    if isinstance(error, LauncherError):
        return str(error), error.exit_code
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return (
            f"The GPU ran out of memory: {str(error).splitlines()[0]} "
            "Lower SOLVER.IMS_PER_BATCH or INPUT.MIN_SIZE_TRAIN, or take more GPUs with device.count.",
            ExitCode.out_of_memory,
        )
    if isinstance(error, FloatingPointError):
        return (
            f"{text} Lower SOLVER.BASE_LR, lengthen SOLVER.WARMUP_ITERS or set SOLVER.CLIP_GRADIENTS.ENABLED=True.",
            ExitCode.training_failed,
        )
    if "DataLoader worker" in text and "killed" in text:
        return (
            f"{text} Usually memory or shared memory ran out: lower DATALOADER.NUM_WORKERS, "
            "or give the container more shared memory (--shm-size).",
            ExitCode.training_failed,
        )
    if _is_about_space(error):
        return (
            f"The disk of the run folder is full ({text}). Make room, or choose another place with run.root=FOLDER.",
            ExitCode.training_failed,
        )
    if isinstance(error, urllib.error.URLError):
        return (
            f"MODEL.WEIGHTS could not be fetched ({error.reason}). Without internet, put the file on this machine and "
            'name it with MODEL.WEIGHTS=PATH, or start from random weights with MODEL.WEIGHTS=\\"\\".',
            ExitCode.training_failed,
        )
    return None


def _is_about_space(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # What torch makes of a write that came out short.
    return "inline_container" in str(error) and "unexpected pos" in str(error)
