"""What an exception of a training means, and what to do about it."""

# ruff: noqa: ARG001 (every rule is asked the same way, whether or not it needs the text)

from __future__ import annotations

import errno
import traceback
import urllib.error
from collections.abc import Callable

import torch

from launcher.device.cuda_codes import code_of, number_in
from launcher.errors import ExitCode, LauncherError
from launcher.process_limits import limit_reached
from launcher.run import codes
from launcher.run.outcome import WorkerFailure
from launcher.train.steps import DivergedError


def explain(error: Exception) -> WorkerFailure:
    """Turn the exception that ended a rank into what the launcher reports."""
    text = " ".join(str(error).split())
    known = next((known for rule in RULES if (known := rule(error, text))), None)
    message, code = known or (f"{type(error).__name__}: {error}", codes.FAILED)
    return WorkerFailure(
        kind=type(error).__name__,
        message=message,
        understood=known is not None,
        exit_code=int(_exit_code(error, code)),
        code=code,
        traceback="".join(traceback.format_exception(error)),
        cuda_code=cuda_code(error) if code in codes.DEVICE else None,
        place=_place(error),
    )


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    # A disk, a server or a limit that failed once may do next time.
    is_of_the_system = isinstance(error, OSError | LauncherError)
    return "" if is_of_the_system or not frames else f"{frames[-1].filename}:{frames[-1].name}"


def _exit_code(error: Exception, code: str) -> ExitCode:
    if isinstance(error, LauncherError):
        return error.exit_code
    out_of_memory = code in (codes.OUT_OF_MEMORY, codes.HOST_MEMORY)
    return ExitCode.out_of_memory if out_of_memory else ExitCode.training_failed


def cuda_code(error: Exception) -> int | None:
    """The number of a CUDA runtime error, or None for any other exception."""
    code = getattr(error, "error_code", None)
    if isinstance(code, int) and code:
        return code
    text = str(error)
    if "CUDA error" not in text and "NCCL" not in text:
        return None
    return number_in(text)


SHARED_MEMORY = "/torch_"  # how torch names its files there
SEMAPHORES = "multiprocessing/synchronize.py"
LOADER_QUEUE = "torch/utils/data/dataloader.py"

Known = tuple[str, str] | None
"""The message and the code of the cause."""


def _ours(error: Exception, text: str) -> Known:
    if not isinstance(error, LauncherError):
        return None
    return str(error), error.code


def _device_memory(error: Exception, text: str) -> Known:
    no_room = "CUBLAS_STATUS_ALLOC_FAILED" in text or "CUDNN_STATUS_ALLOC_FAILED" in text
    if not isinstance(error, torch.cuda.OutOfMemoryError) and not no_room and cuda_code(error) != 2:
        return None
    return (
        f"The GPU ran out of memory: {str(error).splitlines()[0]} "
        "Lower device.micro_batch or INPUT.MIN_SIZE_TRAIN, or take more GPUs with device.count.",
        codes.OUT_OF_MEMORY,
    )


def _host_memory(error: Exception, text: str) -> Known:
    if not isinstance(error, MemoryError) and "DefaultCPUAllocator: can't allocate memory" not in text:
        return None
    return (
        f"The machine ran out of memory ({text[:200]}). Lower DATALOADER.NUM_WORKERS, device.micro_batch or "
        "INPUT.MIN_SIZE_TRAIN.",
        codes.HOST_MEMORY,
    )


def _diverged(error: Exception, text: str) -> Known:
    if not isinstance(error, DivergedError):
        return None
    return (
        f"{text}. Lower SOLVER.BASE_LR, lengthen SOLVER.WARMUP_ITERS or set SOLVER.CLIP_GRADIENTS.ENABLED=True, "
        "and look at those images and their annotations.",
        codes.DIVERGED,
    )


def _loader(error: Exception, text: str) -> Known:
    killed = "DataLoader worker" in text and ("killed" in text or "exited unexpectedly" in text)
    no_room = SHARED_MEMORY in text and any(words in text for words in ("No space left", "Too many open files"))
    # What the queue of a loader process says when that ended in the middle of a batch.
    cut_off = isinstance(error, ConnectionResetError | EOFError) and _came_through(error, LOADER_QUEUE)
    no_words = "insufficient shared memory" in text or "Communication with the workers is no longer possible" in text
    if not (killed or no_room or cut_off or no_words):
        return None
    return (
        f"{text or type(error).__name__}: a data loader process ended. Usually memory or shared memory ran out: lower "
        "DATALOADER.NUM_WORKERS, or give the container more shared memory (--shm-size), or open files (ulimit -n).",
        codes.LOADER_KILLED,
    )


def _came_through(error: Exception, file: str) -> bool:
    return any(frame.filename.endswith(file) for frame in traceback.extract_tb(error.__traceback__))


def _device(error: Exception, text: str) -> Known:
    number = cuda_code(error)
    if number is None and not any(name in text for name in ("CUDA error", "NCCL error", "CUDNN_STATUS")):
        return None
    if number == 710:
        return (
            f"A GPU found an index out of range ({text[:120]}): usually a category or keypoint number that the model "
            "does not have. Compare MODEL.ROI_HEADS.NUM_CLASSES with the annotations.",
            code_of(number),
        )
    return (f"A GPU failed{'' if number is None else f' with CUDA error {number}'}: {text[:200]}", code_of(number))


def _limits(error: Exception, text: str) -> Known:
    reached = limit_reached(error)
    return (str(reached), reached.code) if reached else None


def _semaphores(error: Exception, text: str) -> Known:
    if not _is_about_space(error) or not _came_through(error, SEMAPHORES):
        return None
    return (
        f"/dev/shm has no room for another semaphore ({text}), which data loader processes share. Make room there, "
        "give the container more (--shm-size=8g), or set DATALOADER.NUM_WORKERS=0.",
        codes.SHARED_MEMORY,
    )


def _disk(error: Exception, text: str) -> Known:
    if not _is_about_space(error):
        return None
    return (
        f"The disk of the run folder is full ({text}). Make room, or choose another place with run.root=FOLDER.",
        codes.DISK_FULL,
    )


def _download(error: Exception, text: str) -> Known:
    if not isinstance(error, urllib.error.URLError):
        return None
    return (
        f"MODEL.WEIGHTS could not be fetched ({error.reason}). Without internet, put the file on this machine and "
        'name it with MODEL.WEIGHTS=PATH. A training can also start from random weights: MODEL.WEIGHTS=\\"\\".',
        codes.WEIGHTS_UNAVAILABLE,
    )


RULES: tuple[Callable[[Exception, str], Known], ...] = (
    _ours,
    _device_memory,
    _host_memory,
    _diverged,
    _loader,
    _limits,
    _semaphores,
    _disk,
    _download,
    _device,
)


def _is_about_space(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # What torch makes of a write that came out short.
    return "inline_container" in str(error) and "unexpected pos" in str(error)
