"""Child process: imports torch and friends, and lets a forked worker per GPU try to compute.

It imports nothing of ours but `child_journal`.
The first call into CUDA makes a process unfit for forking, so this process itself never makes one: every look at a
GPU happens in a fork, which writes its own journal and may hang or crash alone.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from child_journal import (  # type: ignore[import-not-found]
    Journal,
    die_with,
    how_it_ended,
    kernel_state,
    read_journal,
    run,
)

KILL_PATIENCE_S = 1.0
POLL_S = 0.01
# torch prints an explanation after the first lines of its errors; the first lines say what happened.
ERROR_LENGTH = 600


def main(journal: Journal, ask: dict[str, Any]) -> None:
    sys.path[:] = ask["path"]
    journal.say(stage="import torch")
    try:
        import torch
    except Exception as error:
        journal.say(import_error=one_text(error), stage="end")
        return
    forks = start_forks(ask, torch)
    journal.say(
        version=torch.__version__,
        # Asks no driver, and still makes every later fork unfit for CUDA.
        architectures=(getattr(torch._C, "_cuda_getArchFlags", lambda: "")() or "").split(),
        mps_available=torch.backends.mps.is_available(),
    )
    look_at_packages(journal, torch)
    journal.say(stage="smoke tests")
    journal.say(smoke_tests=[fork.result() for fork in forks if fork.uuid])
    for fork in forks:
        if not fork.uuid:
            journal.say(availability=fork.result(), **fork.said)
    journal.say(stage="end")
    journal.file.flush()
    # A fork that the kernel does not let die must not hold us back.
    os._exit(0)


def start_forks(ask: dict[str, Any], torch: Any) -> list[Fork]:
    forks = []
    if ask["availability"]:
        forks.append(Fork("", ask, partial(look_at_availability, torch=torch)))
    for uuid in ask["gpus"]:
        forks.append(Fork(uuid, ask, partial(smoke_test, torch=torch, uuid=uuid, stages=ask["stages"])))
    return forks


def look_at_packages(journal: Journal, torch: Any) -> None:
    journal.say(stage="import torchvision")
    try:
        import torchvision  # noqa: F401
    except Exception as error:
        journal.say(torchvision_error=one_text(error))
    else:
        journal.say(nms_on_cuda=torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "CUDA"))
    journal.say(stage="import detectron2")
    try:
        import detectron2  # noqa: F401
    except Exception as error:
        journal.say(detectron2_error=one_text(error))
        return
    journal.say(stage="import detectron2._C")
    try:
        from detectron2 import _C
    except Exception as error:
        journal.say(ops_error=one_text(error))
    else:
        journal.say(ops_cuda=_C.get_cuda_version() if getattr(_C, "has_cuda", lambda: True)() else "not available")


def look_at_availability(journal: Journal, torch: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        journal.say(stage="torch.cuda.device_count")
        journal.say(device_count=torch.cuda.device_count())
        journal.say(stage="torch.cuda.is_available")
        journal.say(is_available=torch.cuda.is_available())
    journal.say(warnings=[one_text(warning.message) for warning in caught])


def smoke_test(journal: Journal, torch: Any, uuid: str, stages: Iterable[str]) -> None:
    """Each stage needs the ones before it; the first that fails ends the test."""
    os.environ["CUDA_VISIBLE_DEVICES"] = uuid
    tried: dict[str, Callable[[], Any]] = {
        "context": lambda: torch.cuda.current_stream().query(),
        "allocate": lambda: torch.empty(1 << 20, dtype=torch.uint8, device="cuda"),
        "copy": lambda: same(torch.arange(4096.0), torch.arange(4096.0).cuda().cpu()),
        "fill": lambda: same(torch.full((4096,), 3.5), torch.empty(4096, device="cuda").fill_(3.5).cpu()),
        "matmul": lambda: matmul(torch),
        "sync": torch.cuda.synchronize,
    }
    passed: list[str] = []
    for stage in stages:
        journal.say(stage=stage)
        try:
            tried[stage]()
        except Exception as error:
            journal.say(failed=stage, code=code_of(error), error=one_text(error))
            return
        passed.append(stage)
        journal.say(passed=passed)


def same(expected: Any, computed: Any) -> None:
    if not bool((expected == computed).all()):
        raise WrongValuesError(f"wrong values: expected {expected[:4].tolist()}, got {computed[:4].tolist()}")


class WrongValuesError(Exception):
    pass


def matmul(torch: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(64, 64, generator=generator), torch.rand(64, 64, generator=generator)
    difference = ((a.cuda() @ b.cuda()).cpu() - a @ b).abs().max().item()
    # Products of 64 numbers below 1; TF32 keeps ten bits of each.
    if not difference < 0.1:
        raise WrongValuesError(f"wrong values: a matrix product differs from the CPU's by {difference}")


def code_of(error: Exception) -> int | None:
    code = getattr(error, "error_code", None)
    if isinstance(code, int):
        return code
    found = re.search(r"[Ee]rror (\d+):", str(error))
    if found:
        return int(found.group(1))
    return 2 if type(error).__name__ == "OutOfMemoryError" else None


def one_text(error: Exception | str) -> str:
    kind = "" if isinstance(error, (str, Warning, WrongValuesError)) else f"{type(error).__name__}: "
    return (kind + str(error))[:ERROR_LENGTH].strip()


class Fork:
    """A forked worker with a journal of its own and a deadline for each of its stages."""

    def __init__(self, uuid: str, ask: dict[str, Any], work: Callable[[Journal], None]) -> None:
        self.uuid = uuid
        self.said: dict[str, Any] = {}
        self.stage_s = ask["stage_s"]
        self.journal_path = Path(ask["folder"]) / f"fork-{uuid}"
        self.started = time.monotonic()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                die_with(parent)
                journal = Journal(self.journal_path)
                work(journal)
                journal.say(stage="end")
                journal.file.flush()
            finally:
                os._exit(0)

    def result(self) -> dict[str, Any]:
        status, kernel_state = self.wait()
        self.said, stage = read_journal(self.journal_path)
        how, number = ("hung", 0) if status is None else how_it_ended(os.waitstatus_to_exitcode(status), stage)
        seconds = round(time.monotonic() - self.started, 3)
        end = {
            "how": how,
            "number": number,
            "stage": stage,
            "seconds": seconds,
            "kernel_state": kernel_state,
            "stderr": "",
        }
        return {"uuid": self.uuid, "passed": self.said.get("passed", []), "end": end, **self.failure(end)}

    def failure(self, end: dict[str, Any]) -> dict[str, Any]:
        if end["how"] == "answered":
            return {key: self.said[key] for key in ("failed", "code", "error") if key in self.said}
        return {"failed": end["stage"]}

    def wait(self) -> tuple[int | None, str]:
        """The exit status, or None and where it hangs."""
        mark, lines = self.started, 0
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status, ""
            if (now_lines := self.progress()) != lines:
                mark, lines = time.monotonic(), now_lines
            if time.monotonic() - mark > self.stage_s:
                return None, self.kill()
            time.sleep(POLL_S)

    def progress(self) -> int:
        try:
            return self.journal_path.stat().st_size
        except OSError:
            return 0

    def kill(self) -> str:
        state: str = kernel_state(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        patience = time.monotonic() + KILL_PATIENCE_S
        while time.monotonic() < patience and not os.waitpid(self.pid, os.WNOHANG)[0]:
            time.sleep(POLL_S)
        return state


if __name__ == "__main__":
    run(main)
