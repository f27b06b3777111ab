"""Faults for real trainings, put in the way that a user's own code enters: config_extensions=[tests.faults:install].

FAULT is `<what>@<iteration>[x<times>]`, for example `kill@3` or `cuda214@2x2`; FAULT_COUNT names a file that counts
how often it has struck, so that a later attempt lives.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import time
from pathlib import Path
from typing import Any


class AcceleratorError(RuntimeError):
    """As torch raises it for an error of the CUDA runtime."""

    def __init__(self, code: int) -> None:
        super().__init__(f"CUDA error: simulated error {code}")
        self.error_code = code


def install(_: Any) -> None:
    found = re.fullmatch(r"(\w+?)@(\w+?)(?:x(\d+))?", os.environ.get("FAULT", ""))
    if found is None:
        return
    what, when, times = found[1], found[2], int(found[3] or 1)
    if when == "smoke":
        _strike_before_backward(what, times)
    else:
        _strike_before_iteration(what, int(when), times)


def _strike_before_iteration(what: str, iteration: int, times: int) -> None:
    from launcher.train.steps import Steps

    run_step = Steps.run_step

    def faulty(self: Steps) -> None:
        if self.iter == iteration and _is_due(times):
            _strike(what, self)
        run_step(self)

    Steps.run_step = faulty  # type: ignore[method-assign]


def _strike_before_backward(what: str, times: int) -> None:
    from launcher.train.compat import smoke

    conv2d = smoke.conv2d

    def faulty(*arguments: Any) -> Any:
        # As the real thing: a masked driver is not there to disturb anybody.
        masked = "no-driver" in os.environ.get("LD_LIBRARY_PATH", "")
        if not masked and _is_due(times):
            _strike(what, None)
        return conv2d(*arguments)

    smoke.conv2d = faulty


def _is_due(times: int) -> bool:
    counter = Path(os.environ["FAULT_COUNT"])
    struck = len(counter.read_text()) if counter.exists() else 0
    if struck >= times:
        return False
    with counter.open("a") as file:
        file.write("x")
    return True


def _strike(what: str, steps: Any) -> None:
    if what.startswith("cuda"):
        raise AcceleratorError(int(what.removeprefix("cuda")))
    if what == "memory":
        import torch

        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if what == "loader":
        for child in multiprocessing.active_children():
            child.kill()
        return
    if what == "nan":
        with _no_grad():
            for parameter in steps.model.parameters():
                parameter.fill_(float("nan"))
        return
    if what == "hang":
        time.sleep(600)
    signals = {"kill": signal.SIGKILL, "segv": signal.SIGSEGV, "abort": signal.SIGABRT}
    os.kill(os.getpid(), signals[what])


def _no_grad() -> Any:
    import torch

    return torch.no_grad()
