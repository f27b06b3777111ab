"""Child process: imports torch and friends, and lets a forked worker per GPU try to compute.

It imports nothing of ours but `child_journal`.
It starts while other children still ask the driver, and reads a second line of the question when they have answered:
until then it must not touch the driver, which may hang.
The first call into CUDA makes a process unfit for forking, so this process itself never makes one: every look at a
GPU happens in a fork, which writes its own journal and may hang or crash alone.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
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

POLL_S = 0.01
# torch prints an explanation after the first lines of its errors; the first lines say what happened.
ERROR_LENGTH = 600
# A GPU that got so far computes; what comes after depends on more libraries.
LAST_BASIC_STAGE = "sync"
OPERATORS_STAGES = {"nms", "operators"}
"""Can only be tried where torchvision's or detectron2's operators are there for CUDA."""


def main(journal: Journal, ask: dict[str, Any]) -> None:
    sys.path[:] = ask["path"]
    gc.disable()  # for as long as this process lives it costs more than it brings, while importing above all
    journal.say(stage="import torch")
    try:
        import torch
    except Exception as error:
        journal.say(import_error=one_text(error), stage="end")
        return
    journal.say(version=torch.__version__)
    # Before the forks, which then have the operators too. Loading them calls no driver.
    missing = OPERATORS_STAGES - look_at_packages(journal, torch)
    journal.say(stage="wait for the driver's answer")
    ask |= json.loads(sys.stdin.readline())
    ask["stages"] = [stage for stage in ask["stages"] if stage not in missing]
    look_at_gpus(journal, ask, torch)
    # Asks no driver, and still makes every later fork unfit for CUDA.
    journal.say(architectures=(getattr(torch._C, "_cuda_getArchFlags", lambda: "")() or "").split(), stage="end")
    journal.file.flush()
    # A fork that the kernel does not let die must not hold us back.
    os._exit(0)


def look_at_packages(journal: Journal, torch: Any) -> set[str]:
    """Note how torchvision and detectron2 import; returns the stages that their operators make possible."""
    possible = set()
    journal.say(stage="import torchvision")
    try:
        import_operators(torch)
        nms_on_cuda = torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "CUDA")
    except Exception as error:
        journal.say(torchvision_error=one_text(error))
    else:
        journal.say(nms_on_cuda=nms_on_cuda)
        possible |= {"nms"} if nms_on_cuda else set()
    journal.say(stage="import detectron2")
    try:
        import detectron2  # noqa: F401
    except Exception as error:
        journal.say(detectron2_error=one_text(error))
        return possible
    journal.say(stage="import detectron2._C")
    try:
        from detectron2 import _C
    except Exception as error:
        journal.say(ops_error=one_text(error))
        return possible
    on_cuda = getattr(_C, "has_cuda", lambda: True)()
    journal.say(ops_cuda=_C.get_cuda_version() if on_cuda else "not available")
    return possible | ({"operators"} if on_cuda else set())


def import_operators(torch: Any) -> None:
    """Import the part of torchvision that registers its operators.

    The whole of it imports torch's compiler, which takes as long as importing torch. Only where the part does not do
    as expected, the whole is imported, and decides: with the error that a training would get.
    """
    try:
        register_operators(torch)
    except Exception:
        import torchvision  # noqa: F401


def register_operators(torch: Any) -> None:
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        raise ModuleNotFoundError("No module named 'torchvision'")
    sys.modules["torchvision"] = importlib.util.module_from_spec(spec)  # its own code is not run
    try:
        importlib.import_module("torchvision.extension")
        if not torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "CPU"):
            raise RuntimeError("operator torchvision::nms does not exist")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


def look_at_gpus(journal: Journal, ask: Mapping[str, Any], torch: Any) -> None:
    journal.say(stage="smoke tests")
    tests = [Fork(uuid, ask, partial(smoke_test, torch=torch, uuid=uuid, stages=ask["stages"])) for uuid in ask["gpus"]]
    others = [Fork("", ask, partial(look_at_availability, torch=torch))] if ask["availability"] else []
    finish(tests + others)
    for fork in others:
        journal.say(**fork.said)
    results = [fork.result() for fork in tests]
    journal.say(smoke_tests=results)
    pair = able_to_talk(results)[:2]
    if ask["backend"] and len(pair) == 2:
        journal.say(stage="all-reduce")
        journal.say(all_reduce=all_reduce_between(pair, ask, torch))


def able_to_talk(results: Sequence[Mapping[str, Any]]) -> list[str]:
    # CUDA shows a process one MIG instance at most, so instances (and one beside a GPU) never train together.
    return [
        result["uuid"]
        for result in results
        if LAST_BASIC_STAGE in result["passed"] and not result["uuid"].startswith("MIG-")
    ]


def look_at_availability(journal: Journal, torch: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        journal.say(stage="torch.cuda.is_available")
        journal.say(is_available=torch.cuda.is_available())
    journal.say(warnings=[one_text(warning.message) for warning in caught])


def smoke_test(journal: Journal, torch: Any, uuid: str, stages: Iterable[str], device: str = "cuda") -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = uuid
    known: dict[str, Callable[[], Any]] = {
        "context": lambda: torch.cuda.current_stream().query(),
        "allocate": lambda: torch.empty(1 << 20, dtype=torch.uint8, device=device),
        "copy": lambda: same(torch.arange(4096.0), torch.arange(4096.0).to(device).cpu()),
        "fill": lambda: same(torch.full((4096,), 3.5), torch.empty(4096, device=device).fill_(3.5).cpu()),
        "matmul": lambda: matmul(torch, device),
        "sync": torch.cuda.synchronize,
        "convolution": lambda: convolution(torch, device),
        "nms": lambda: nms(torch, device),
        "operators": lambda: operators(torch, device),
    }
    try_stages(journal, {stage: known[stage] for stage in stages})


def try_stages(journal: Journal, stages: Mapping[str, Callable[[], Any]]) -> None:
    """Each stage needs the ones before it; the first that fails ends the test."""
    passed: list[str] = []
    for stage, attempt in stages.items():
        journal.say(stage=stage)
        try:
            attempt()
        except Exception as error:
            wrong = isinstance(error, WrongValuesError)
            journal.say(failed=stage, code=code_of(error), error=one_text(error), wrong_values=wrong)
            return
        passed.append(stage)
        journal.say(passed=passed)


def same(expected: Any, computed: Any) -> None:
    if not bool((expected == computed).all()):
        raise WrongValuesError(f"expected {expected[:4].tolist()}, got {computed[:4].tolist()}")


def near(what: str, expected: Any, computed: Any) -> None:
    difference = (computed.cpu() - expected).abs().max().item()
    # Sums of less than a hundred products below 1, of which TF32 keeps ten bits each.
    if not difference < 0.1:
        raise WrongValuesError(f"{what} differs from the CPU's by {difference}")


class WrongValuesError(Exception):
    pass


def matmul(torch: Any, device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(64, 64, generator=generator), torch.rand(64, 64, generator=generator)
    near("a matrix product", a @ b, a.to(device) @ b.to(device))


def convolution(torch: Any, device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    image, weight = torch.rand(1, 8, 16, 16, generator=generator), torch.rand(8, 8, 3, 3, generator=generator)
    convolve = torch.nn.functional.conv2d
    near("a convolution", convolve(image, weight), convolve(image.to(device), weight.to(device)))


def nms(torch: Any, device: str) -> None:
    # The second box is inside the first, the third is apart from both.
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [20.0, 20.0, 30.0, 30.0]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    suppress = torch.ops.torchvision.nms
    kept, expected = suppress(boxes.to(device), scores.to(device), 0.5).tolist(), suppress(boxes, scores, 0.5).tolist()
    if kept != expected:
        raise WrongValuesError(f"torchvision's nms keeps {kept}, on the CPU {expected}")


def operators(torch: Any, device: str) -> None:
    boxes = torch.tensor([[5.0, 5.0, 10.0, 10.0, 0.0], [5.0, 5.0, 10.0, 10.0, 45.0], [50.0, 50.0, 10.0, 10.0, 30.0]])
    overlaps = torch.ops.detectron2.box_iou_rotated
    near("detectron2's overlap of boxes", overlaps(boxes, boxes), overlaps(boxes.to(device), boxes.to(device)))


def all_reduce_between(pair: Sequence[str], ask: Mapping[str, Any], torch: Any) -> dict[str, Any]:
    ranks = [
        Fork(f"rank-{rank}", ask, partial(all_reduce, torch=torch, rank=rank, pair=pair, ask=ask)) for rank in (0, 1)
    ]
    return {**result_of_both(ranks), "uuid": ",".join(pair)}


def all_reduce(journal: Journal, torch: Any, rank: int, pair: Sequence[str], ask: Mapping[str, Any]) -> None:
    """Add up numbers with the other rank, as the processes of a training do with their gradients."""
    # As in a training, each process sees both: without that they could not read each other's memory.
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(pair)
    distributed = torch.distributed
    store = distributed.FileStore(str(Path(ask["folder"]) / "rendezvous"), 2)
    device = f"cuda:{rank}" if ask["backend"] == "nccl" else "cpu"
    patience = timedelta(seconds=10 * ask["stage_s"])  # our own deadline comes first and says where it was
    numbers: list[Any] = []

    def meet() -> None:
        if ask["backend"] == "nccl":
            torch.cuda.set_device(rank)
        distributed.init_process_group(ask["backend"], store=store, rank=rank, world_size=2, timeout=patience)

    def add_up() -> None:
        # Large enough that it does not travel within a message.
        numbers.append(torch.full((1 << 20,), rank + 1.0, device=device))
        distributed.all_reduce(numbers[0])
        numbers[0] = numbers[0].cpu()

    def compare() -> None:
        same(torch.full((1 << 20,), 3.0), numbers[0])
        # Who leaves early takes the connection with it.
        store.set(f"compared by {rank}", "")
        store.wait(["compared by 0", "compared by 1"], patience)

    try_stages(journal, {"rendezvous": meet, "all_reduce": add_up, "compare": compare})


def result_of_both(ranks: Sequence[Fork]) -> dict[str, Any]:
    """What went wrong first: a rank that fails leaves the other waiting."""
    finish(ranks, together=True)
    results = [rank.result() for rank in ranks]
    by_itself = [result for result in results if result["failed"] and result["end"]["how"] != "hung"]
    return (by_itself or [result for result in results if result["failed"]] or results)[0]


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

    def __init__(
        self,
        name: str,
        ask: Mapping[str, Any],
        work: Callable[[Journal], None],
        send_kill: Callable[[int], None] = lambda pid: os.kill(pid, signal.SIGKILL),
    ) -> None:
        self.name = name
        self.send_kill = send_kill
        self.stage_s = ask["stage_s"]
        self.journal_path = Path(ask["folder"]) / f"fork-{name}"
        self.started = self.last_sign = time.monotonic()
        self.journal_size = 0
        self.status: int | None = None
        self.seconds = 0.0
        self.ended = False
        self.kernel_state = ""
        """Where it hung."""
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

    def look(self) -> None:
        """Notice its end or its progress; kill it when it has stayed in one stage for too long."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        now = time.monotonic()
        if pid:
            self.status = status
            self.end_now()
        elif (size := self.size_of_journal()) != self.journal_size:
            self.last_sign, self.journal_size = now, size
        elif now - self.last_sign > self.stage_s:
            self.kill()

    def kill(self) -> None:
        """Not waited for: the kernel may not let it die."""
        self.kernel_state = kernel_state(self.pid)
        self.send_kill(self.pid)
        self.end_now()

    def end_now(self) -> None:
        self.ended = True
        self.seconds = round(time.monotonic() - self.started, 3)

    def size_of_journal(self) -> int:
        try:
            return self.journal_path.stat().st_size
        except OSError:
            return 0

    @property
    def said(self) -> dict[str, Any]:
        said: dict[str, Any] = read_journal(self.journal_path)[0]
        return said

    def result(self) -> dict[str, Any]:
        said, stage = read_journal(self.journal_path)
        how, number = "hung", 0
        if self.status is not None:
            how, number = how_it_ended(os.waitstatus_to_exitcode(self.status), stage)
        end = {
            "how": how,
            "number": number,
            "stage": stage,
            "seconds": self.seconds,
            "kernel_state": self.kernel_state,
            "stderr": "",
        }
        failure = {"failed": said.get("failed", "")} if how == "answered" else {"failed": stage}
        error = {key: said[key] for key in ("code", "error", "wrong_values") if key in said}
        return {"uuid": self.name, "passed": said.get("passed", []), "end": end, **failure, **error}


def finish(forks: Sequence[Fork], *, together: bool = False) -> None:
    """Wait until each fork has ended or hung; `together`, the first that fails ends the others."""
    while running := [fork for fork in forks if not fork.ended]:
        if together and any(fork.ended and fork.result()["failed"] for fork in forks):
            for fork in running:
                fork.kill()
            return
        for fork in running:
            fork.look()
        time.sleep(POLL_S)


if __name__ == "__main__":
    run(main)
