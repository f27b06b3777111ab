"""The torch child against the real torch on simulated GPUs with one fault each, and two of its forks in talk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.device.facts import TorchFacts
from launcher.device.look.children import Child
from launcher.device.look.probe import STAGES, torch_facts
from tests.device.torch_machines import TORCH_CHILD, AskTorch, TorchScenario
from tests.fakegpu import Gpu, Machine, mig_uuid, uuid

BASIC = STAGES[: STAGES.index("sync") + 1]

# Fault of the GPU; how the smoke test's process ends; stage that fails; CUDA's code as the child read it
FAULTS: dict[str, tuple[Gpu, str, str, int | None]] = {
    "no memory for a context": (Gpu(ctx=2), "answered", "context", 2),
    "busy": (Gpu(ctx=46), "answered", "context", 46),
    "uncorrectable error": (Gpu(ctx=214), "answered", "context", 214),
    "system call fails": (Gpu(ctx=304), "answered", "context", 304),
    "out of memory": (Gpu(alloc=2), "answered", "allocate", 2),
    "illegal address": (Gpu(copy=700), "answered", "copy", 700),
    "no code for it": (Gpu(launch=209), "answered", "fill", 209),
    "translation too old": (Gpu(launch=222), "answered", "fill", 222),
    "kernels are dropped": (Gpu(launch="drop"), "answered", "fill", None),
    "cuBLAS does not start": (Gpu(matmul=1), "answered", "matmul", None),
    "products are wrong": (Gpu(matmul="wrong"), "answered", "matmul", None),
    # The simulation has no cuDNN: the real one does not start on it.
    "cuDNN does not start": (Gpu(), "answered", "convolution", None),
    "context kills": (Gpu(ctx="segv"), "signal", "context", None),
    "launch aborts": (Gpu(launch="abort"), "signal", "fill", None),
    "product ends the process": (Gpu(matmul="exit"), "exit", "matmul", None),
    "never finishes": (Gpu(ctx="hang"), "hung", "context", None),
}
DRIVERS = {
    "driver error": (Machine(gpus=(Gpu(),), init=802), False, "802"),
    "driver too old": (Machine(gpus=(Gpu(),), driver=11040), False, "too old"),
    "driver works": (Machine(gpus=(Gpu(), Gpu())), True, ""),
}


def told(machine: Machine, **differences: Any) -> dict[str, Any]:
    gpus = [uuid(index) for index in range(len(machine.gpus))]
    return {"gpus": gpus, "availability": False, "stages": STAGES, "stage_s": 20.0, "backend": "", **differences}


# Packages in the place of the installed ones: file to content
PACKAGES = {
    "torchvision of another torch": {
        "torchvision/__init__.py": "raise RuntimeError('built for another torch')",
        "torchvision/extension.py": "",
    },
    "torchvision in a layout of its own": {"torchvision/__init__.py": ""},
    "detectron2 that needs more": {"detectron2/__init__.py": "import not_there"},
    "detectron2 compiled for another CUDA": {
        "detectron2/__init__.py": "",
        "detectron2/_C.py": "raise ImportError('libcudart.so.11.0: cannot open shared object file')",
    },
    "detectron2 compiled without CUDA": {
        "detectron2/__init__.py": "",
        "detectron2/_C.py": "has_cuda = lambda: False",
    },
    "detectron2 compiled with CUDA": {
        "detectron2/__init__.py": "",
        "detectron2/_C.py": "has_cuda = lambda: True\nget_cuda_version = lambda: 'CUDA 13.2'",
    },
}


@pytest.fixture(scope="module")
def tried(ask_torch: AskTorch, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TorchFacts]:
    """All scenarios in one process that imported torch once."""
    scenarios = {}
    for name, (gpu, how, *_) in FAULTS.items():
        machine = Machine(gpus=(gpu,))
        scenarios[name] = TorchScenario(machine=machine, told=told(machine, stage_s=1.0 if how == "hung" else 20.0))
    for name, (machine, *_) in DRIVERS.items():
        scenarios[name] = TorchScenario(machine=machine, told=told(machine, gpus=[], availability=True))
    healthy = Machine(gpus=(Gpu(), Gpu(ctx=46), Gpu(), Gpu()))
    scenarios["three of four"] = TorchScenario(machine=healthy, told=told(healthy, stages=BASIC, backend="gloo"))
    scenarios["one of four"] = TorchScenario(
        machine=healthy, told=told(healthy, gpus=[uuid(0), uuid(1)], stages=BASIC, backend="gloo")
    )
    divided = Machine(gpus=(Gpu(mig=1), Gpu(), Gpu()))
    scenarios["a MIG instance before two GPUs"] = TorchScenario(
        machine=divided, told=told(divided, gpus=[mig_uuid(0), uuid(1), uuid(2)], stages=BASIC, backend="gloo")
    )
    several = Machine(gpus=(Gpu(ctx="hang"), Gpu(sync="hang"), Gpu()))
    scenarios["two of three hang"] = TorchScenario(machine=several, told=told(several, stages=BASIC, stage_s=2.5))
    one = Machine(gpus=(Gpu(),))
    for name, files in PACKAGES.items():
        folder = tmp_path_factory.mktemp("packages")
        for file, content in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(content)
        question = told(
            one, stages=("context", "nms", "operators") if "torchvision" in name else ("context", "operators")
        )
        scenarios[name] = TorchScenario(machine=one, told=question, packages=folder)
    # Its kernels do not run, but for filling.
    scenarios["no kernels of torchvision"] = TorchScenario(machine=one, told=told(one, stages=("context", "nms")))
    return ask_torch(scenarios)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_in_its_stage_and_alone(tried: dict[str, TorchFacts], name: str):
    _, how, stage, code = FAULTS[name]

    (test,) = tried[name].smoke_tests

    assert (test.end.how, test.failed, test.code) == (how, stage, code)
    assert test.passed == STAGES[: STAGES.index(stage)]
    assert tried[name].end.how == "answered"


@pytest.mark.parametrize("name", ["kernels are dropped", "products are wrong"])
def test_bad_work_is_noticed_by_its_values(tried: dict[str, TorchFacts], name: str):
    assert tried[name].smoke_tests[0].wrong_values


def test_a_library_that_does_not_start_is_named(tried: dict[str, TorchFacts]):
    assert "CUBLAS_STATUS_NOT_INITIALIZED" in tried["cuBLAS does not start"].smoke_tests[0].error
    assert "CUDNN_STATUS_NOT_INITIALIZED" in tried["cuDNN does not start"].smoke_tests[0].error


def test_gpus_that_hang_cost_one_deadline_together(tried: dict[str, TorchFacts]):
    tests = tried["two of three hang"].smoke_tests

    assert [test.end.how for test in tests] == ["hung", "hung", "answered"]
    assert max(test.end.seconds for test in tests) < 2 * 2.5


@pytest.mark.parametrize("name", DRIVERS)
def test_what_torch_says_of_the_driver_is_kept(tried: dict[str, TorchFacts], name: str):
    _, available, warning = DRIVERS[name]

    facts = tried[name]

    assert facts.is_available is available
    assert warning in " ".join(facts.warnings)


def test_packages_are_looked_at_before_the_forks_and_architectures_after(tried: dict[str, TorchFacts]):
    facts = tried["driver works"]

    assert facts.nms_on_cuda
    assert facts.architectures
    assert facts.torchvision_error == facts.detectron2_error == ""


def test_a_torch_that_does_not_import_is_quoted_and_nothing_more_is_asked(tmp_path: Path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    path = [str(tmp_path), *sys.path]

    with Child(TORCH_CHILD, environ=os.environ, ask={"path": path}, deadline_s=20) as child:
        facts = torch_facts(child.answer())

    assert facts.end.how == "answered"
    assert facts.import_error == "ImportError: libcudart.so.13: cannot open shared object file"


def test_a_torchvision_that_does_not_import_is_quoted_and_its_operators_are_not_tried(tried: dict[str, TorchFacts]):
    facts = tried["torchvision of another torch"]

    assert facts.torchvision_error == "RuntimeError: built for another torch"
    assert facts.nms_on_cuda is None
    assert facts.smoke_tests[0].passed == ("context",)


def test_a_torchvision_without_operators_is_told(tried: dict[str, TorchFacts]):
    assert "nms" in tried["torchvision in a layout of its own"].torchvision_error


def test_a_detectron2_that_does_not_import_is_quoted(tried: dict[str, TorchFacts]):
    error = tried["detectron2 that needs more"].detectron2_error

    assert error == "ModuleNotFoundError: No module named 'not_there'"


def test_compiled_operators_that_do_not_load_are_quoted(tried: dict[str, TorchFacts]):
    assert "libcudart.so.11.0" in tried["detectron2 compiled for another CUDA"].ops_error


def test_operators_are_tried_on_a_gpu_where_they_have_cuda(tried: dict[str, TorchFacts]):
    without, having = tried["detectron2 compiled without CUDA"], tried["detectron2 compiled with CUDA"]

    assert (without.ops_cuda, without.smoke_tests[0].passed) == ("not available", ("context",))
    assert (having.ops_cuda, having.smoke_tests[0].failed) == ("CUDA 13.2", "operators")
    assert "box_iou_rotated" in having.smoke_tests[0].error


def test_operators_of_torchvision_that_do_not_run_are_noticed(tried: dict[str, TorchFacts]):
    test = tried["no kernels of torchvision"].smoke_tests[0]

    assert (test.failed, test.wrong_values) == ("nms", True)


def test_two_gpus_that_work_add_up_numbers(tried: dict[str, TorchFacts]):
    both = tried["three of four"].all_reduce

    assert both.uuid == f"{uuid(0)},{uuid(2)}"
    assert (both.passed, both.failed, both.end.how) == (("rendezvous", "all_reduce", "compare"), "", "answered")


def test_a_gpu_without_another_that_works_has_nobody_to_talk_to(tried: dict[str, TorchFacts]):
    assert tried["one of four"].all_reduce is None


def test_a_mig_instance_is_not_made_to_talk_to_a_gpu(tried: dict[str, TorchFacts]):
    facts = tried["a MIG instance before two GPUs"]

    assert facts.smoke_tests[0].uuid.startswith("MIG-")
    assert not facts.smoke_tests[0].failed
    assert facts.all_reduce.uuid == f"{uuid(1)},{uuid(2)}"


BY_HAND = """
import json, os, signal, sys, time
from functools import partial
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
import torch
import child_torch

def crash(journal):
    journal.say(stage="rendezvous")
    os.kill(os.getpid(), signal.SIGSEGV)

def refuse(journal):
    child_torch.try_stages(journal, {"rendezvous": lambda: 1 / 0})

def lie(journal):
    wrong = lambda *arguments, **more: torch.zeros(1 << 20)
    child_torch.all_reduce(journal, SimpleNamespace(full=wrong, distributed=torch.distributed), 1, ["a", "b"], ask)

from types import SimpleNamespace
results = {}
for name, other in (("crash", crash), ("refuse", refuse), ("hang", lambda journal: time.sleep(60)), ("lie", lie)):
    folder = Path(sys.argv[2]) / name
    folder.mkdir()
    ask = {"folder": str(folder), "stage_s": 3.0 if name == "hang" else 20.0, "backend": "gloo"}
    honest = partial(child_torch.all_reduce, torch=torch, rank=0, pair=["a", "b"], ask=ask)
    ranks = [child_torch.Fork("rank-0", ask, honest), child_torch.Fork("rank-1", ask, other)]
    started = time.monotonic()
    results[name] = {**child_torch.result_of_both(ranks), "seconds": time.monotonic() - started}

# As in the kernel's uninterruptible sleep: not even SIGKILL ends it.
folder = Path(sys.argv[2]) / "immortal"
folder.mkdir()
ask = {"folder": str(folder), "stage_s": 1.0}
def sleep(journal):
    journal.say(stage="context")
    time.sleep(60)
immortal = child_torch.Fork("immortal", ask, sleep, send_kill=lambda pid: None)
healthy = child_torch.Fork("healthy", ask, lambda journal: journal.say(passed=["context"], failed=""))
started = time.monotonic()
child_torch.finish([immortal, healthy])
results["immortal"] = {"seconds": time.monotonic() - started, "forks": [immortal.result(), healthy.result()],
    "lives": child_torch.kernel_state(immortal.pid)}
os.kill(immortal.pid, signal.SIGKILL)

# All stages but those that are CUDA's alone, with the CPU in the GPU's place.
child_torch.register_operators(torch)
library = torch.library.Library("detectron2", "DEF")
library.define("box_iou_rotated(Tensor one, Tensor other) -> Tensor")
library.impl("box_iou_rotated", lambda one, other: one[:, None, 4] * other[None, :, 4], "CPU")
stages = ("allocate", "copy", "fill", "matmul", "convolution", "nms", "operators")
journal = Path(sys.argv[2]) / "journal"
child_torch.smoke_test(child_torch.Journal(journal), torch, "", stages, device="cpu")
results["smoke test"] = child_torch.read_journal(journal)[0]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def by_hand(plain_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Parts of the torch child by hand: a rank that talks to one that does not behave, over gloo; stages on the CPU."""
    done = subprocess.run(
        [sys.executable, "-c", BY_HAND, TORCH_CHILD, tmp_path_factory.mktemp("pairs")],
        env={**plain_environ, "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_of_two_that_talk_the_one_that_crashed_is_told_and_the_other_does_not_wait(by_hand: dict[str, Any]):
    crash = by_hand["crash"]

    assert (crash["uuid"], crash["end"]["how"], crash["failed"]) == ("rank-1", "signal", "rendezvous")
    assert crash["seconds"] < 15


def test_of_two_that_talk_the_one_that_refuses_is_told_with_its_words(by_hand: dict[str, Any]):
    assert by_hand["refuse"]["error"] == "ZeroDivisionError: division by zero"


def test_a_talk_that_hangs_costs_one_deadline(by_hand: dict[str, Any]):
    hang = by_hand["hang"]

    assert (hang["end"]["how"], hang["failed"]) == ("hung", "rendezvous")
    assert hang["seconds"] < 2 * 3.0


def test_a_sum_that_is_wrong_is_noticed(by_hand: dict[str, Any]):
    assert (by_hand["lie"]["failed"], by_hand["lie"]["wrong_values"]) == ("compare", True)


def test_a_fork_that_the_kernel_does_not_let_die_is_left_behind_and_the_others_are_heard(by_hand: dict[str, Any]):
    immortal, healthy = by_hand["immortal"]["forks"]

    assert (immortal["end"]["how"], immortal["failed"]) == ("hung", "context")
    assert immortal["end"]["kernel_state"].startswith("S")
    assert (healthy["end"]["how"], healthy["passed"]) == ("answered", ["context"])
    assert by_hand["immortal"]["lives"].startswith("S")
    assert by_hand["immortal"]["seconds"] < 5


def test_what_a_gpu_is_asked_for_a_device_that_computes_can_answer(by_hand: dict[str, Any]):
    stages = ["allocate", "copy", "fill", "matmul", "convolution", "nms", "operators"]

    assert by_hand["smoke test"] == {"passed": stages}
