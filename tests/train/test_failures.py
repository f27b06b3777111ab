from __future__ import annotations

import errno
import urllib.error

import pytest
import torch

from launcher.errors import DataError, ExitCode
from launcher.run.outcome import Cause
from launcher.train.failures import explain


@pytest.mark.parametrize(
    ("error", "exit_code", "says"),
    [
        (DataError("the data is wrong"), ExitCode.data_wrong, "the data is wrong"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"), ExitCode.out_of_memory, "device.micro_batch"),
        (FloatingPointError("Loss became infinite or NaN at iteration=4!"), ExitCode.training_failed, "SOLVER.BASE_LR"),
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


class AcceleratorError(RuntimeError):
    """As newer torch has it."""

    def __init__(self, text: str, error_code: int) -> None:
        super().__init__(text)
        self.error_code = error_code


@pytest.mark.parametrize(
    ("error", "cause", "code"),
    [
        (AcceleratorError("CUDA error: unspecified launch failure", 719), Cause.device, 719),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), Cause.device, 700),
        (RuntimeError("CUDA error: device-side assert triggered"), Cause.device, 710),
        (RuntimeError("NCCL error in: x.cpp, unhandled system error"), Cause.device, None),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), Cause.device, None),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), Cause.device_memory, None),
        (AcceleratorError("CUDA error: out of memory", 2), Cause.device_memory, None),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"), Cause.device_memory, None),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), Cause.host_memory, None),
        (RuntimeError("DataLoader worker (pid(s) 5) exited unexpectedly"), Cause.loader, None),
        (RuntimeError("unable to write to file </torch_12_3>: No space left on device (28)"), Cause.loader, None),
        (RuntimeError("Unexpected bus error: insufficient shared memory (shm)"), Cause.loader, None),
        (ConnectionResetError(104, "Connection reset by peer"), Cause.other, None),
        (FloatingPointError("iteration 3 diverged: loss_cls became no number"), Cause.diverged, None),
        (FloatingPointError("underflow encountered in multiply"), Cause.other, None),
        (RuntimeError("shape mismatch"), Cause.other, None),
    ],
)
def test_the_cause_of_a_failure_is_told_from_its_exception(error: Exception, cause: Cause, code: int | None):
    failure = explain(error)

    assert (failure.cause, failure.cuda_code) == (cause, code)
