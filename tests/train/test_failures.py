from __future__ import annotations

import errno
import multiprocessing
import urllib.error
from multiprocessing import synchronize

import pytest
import torch

from launcher.errors import DataError, ExitCode
from launcher.run import codes
from launcher.train.failures import explain
from launcher.train.steps import DivergedError


@pytest.mark.parametrize(
    ("error", "exit_code", "says"),
    [
        (DataError("the data is wrong"), ExitCode.data_wrong, "the data is wrong"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"), ExitCode.out_of_memory, "device.micro_batch"),
        (DivergedError("Loss became infinite or NaN at iteration=4!"), ExitCode.training_failed, "SOLVER.BASE_LR"),
        (RuntimeError("DataLoader worker (pid 5) is killed by signal: Bus error."), 1, "DATALOADER.NUM_WORKERS"),
        (OSError(errno.ENOSPC, "No space left on device"), ExitCode.training_failed, "run.root"),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), 1, "disk"),
        (MemoryError(), ExitCode.out_of_memory, "DATALOADER.NUM_WORKERS"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), 1, "CUDA error 214"),
        (urllib.error.URLError("no route to host"), ExitCode.training_failed, "MODEL.WEIGHTS=PATH"),
    ],
)
def test_known_failures_say_what_to_do(error: Exception, exit_code: int, says: str):
    failure = explain(error)

    assert failure.understood
    assert failure.exit_code == exit_code
    assert says in failure.message


def test_an_unknown_failure_keeps_its_traceback():
    try:
        {}["missing"]
    except KeyError as error:
        failure = explain(error)

    assert not failure.understood
    assert "test_failures.py" in failure.traceback
    assert failure.exit_code == ExitCode.training_failed


@pytest.mark.parametrize(
    ("error", "place"),
    [(KeyError("missing"), "test_failures.py:_raised"), (OSError("gone"), ""), (DataError("the data is wrong"), "")],
)
def test_a_failure_says_where_it_was_raised_unless_the_system_raised_it(error: Exception, place: str):
    failure = explain(_raised(error))

    assert failure.place.endswith(place)
    assert bool(failure.place) == bool(place)


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


class AcceleratorError(RuntimeError):
    """As newer torch has it."""

    def __init__(self, text: str, error_code: int) -> None:
        super().__init__(text)
        self.error_code = error_code


@pytest.mark.parametrize(
    ("error", "code", "number"),
    [
        (AcceleratorError("CUDA error: unspecified launch failure", 719), "run.launch_failure", 719),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "run.illegal_access", 700),
        (RuntimeError("CUDA error: device-side assert triggered"), "run.assert", 710),
        (RuntimeError("NCCL error in: x.cpp, unhandled system error"), "run.cuda_error", None),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "run.cuda_error", None),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), codes.OUT_OF_MEMORY, None),
        (AcceleratorError("CUDA error: out of memory", 2), codes.OUT_OF_MEMORY, None),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"), codes.OUT_OF_MEMORY, None),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), codes.HOST_MEMORY, None),
        (RuntimeError("DataLoader worker (pid(s) 5) exited unexpectedly"), codes.LOADER_KILLED, None),
        (
            RuntimeError("unable to write to file </torch_12_3>: No space left on device"),
            codes.LOADER_KILLED,
            None,
        ),
        (RuntimeError("Unexpected bus error: insufficient shared memory (shm)"), codes.LOADER_KILLED, None),
        (ConnectionResetError(104, "Connection reset by peer"), codes.FAILED, None),
        (DivergedError("iteration 3 diverged: loss_cls is NaN or Inf"), codes.DIVERGED, None),
        (FloatingPointError("underflow encountered in multiply"), codes.FAILED, None),
        (RuntimeError("shape mismatch"), codes.FAILED, None),
    ],
)
def test_the_cause_of_a_failure_is_told_from_its_exception(error: Exception, code: str, number: int | None):
    failure = explain(error)

    assert (failure.code, failure.cuda_code) == (code, number)


def test_a_semaphore_without_room_is_not_the_disk_of_the_run_folder(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(synchronize._multiprocessing, "SemLock", refuse)
    with pytest.raises(OSError, match="No space left") as raised:
        multiprocessing.get_context("fork").Lock()

    failure = explain(raised.value)

    assert failure.code == codes.SHARED_MEMORY
    assert "/dev/shm" in failure.message
    assert "run.root" not in failure.message
