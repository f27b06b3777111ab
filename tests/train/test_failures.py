from __future__ import annotations

import errno
import urllib.error

import pytest
import torch

from launcher.errors import DataError, ExitCode
from launcher.train.failures import explain


@pytest.mark.parametrize(
    ("error", "exit_code", "says"),
    [
        (DataError("the data is wrong"), ExitCode.data_wrong, "the data is wrong"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"), ExitCode.out_of_memory, "SOLVER.IMS_PER_BATCH"),
        (FloatingPointError("Loss became infinite at iteration=4!"), ExitCode.training_failed, "SOLVER.BASE_LR"),
        (RuntimeError("DataLoader worker (pid 5) is killed by signal: Bus error."), 1, "DATALOADER.NUM_WORKERS"),
        (OSError(errno.ENOSPC, "No space left on device"), ExitCode.training_failed, "run.root"),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), 1, "disk"),
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
