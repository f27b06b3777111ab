"""The smoke test of the torch child against the real torch on simulated GPUs with one fault each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import launcher.device
from launcher.device.probe import STAGES
from tests.fakegpu import FakeGpu, Gpu, Machine, uuid

SCRIPT = Path(launcher.device.__file__).with_name("child_torch.py")

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
    "context kills": (Gpu(ctx="segv"), "signal", "context", None),
    "launch aborts": (Gpu(launch="abort"), "signal", "fill", None),
    "never finishes": (Gpu(ctx="hang"), "hung", "context", None),
    "no cuBLAS": (Gpu(), "answered", "matmul", None),
}
DRIVERS = {
    "driver error": (Machine(gpus=(Gpu(),), init=802), False, "802"),
    "driver too old": (Machine(gpus=(Gpu(),), driver=11040), False, "too old"),
    "driver works": (Machine(gpus=(Gpu(), Gpu())), True, ""),
}


@pytest.fixture(scope="module")
def tried(fakegpu: FakeGpu, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All scenarios in one process that imported torch once."""
    folder = tmp_path_factory.mktemp("forks")
    scenarios = [scenario(name, Machine(gpus=(gpu,)), folder, gpus=[uuid(0)]) for name, (gpu, *_) in FAULTS.items()]
    scenarios += [scenario(name, machine, folder, availability=True) for name, (machine, *_) in DRIVERS.items()]
    (folder / "scenarios.json").write_text(json.dumps(scenarios))
    environ = fakegpu.environ({"PATH": "/usr/bin:/bin"}, Machine(), alive=True)
    helper = Path(__file__).with_name("torch_forks.py")
    done = subprocess.run(
        [sys.executable, helper, folder / "scenarios.json", SCRIPT],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def scenario(
    name: str, machine: Machine, folder: Path, *, gpus: list[str] | None = None, availability: bool = False
) -> dict[str, Any]:
    ask = {
        "folder": str(folder / name),
        "gpus": gpus or [],
        "availability": availability,
        "stages": STAGES,
        "stage_s": 1.0 if name == "never finishes" else 20.0,
    }
    return {"name": name, "fakegpu": machine.spec(), "ask": ask}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_in_its_stage_and_alone(tried: dict[str, Any], name: str):
    _, how, stage, code = FAULTS[name]

    (result,) = tried[name]

    assert (result["end"]["how"], result["failed"], result.get("code")) == (how, stage, code)
    assert tuple(result["passed"]) == STAGES[: STAGES.index(stage)]


def test_dropped_work_is_noticed_by_its_values(tried: dict[str, Any]):
    assert tried["kernels are dropped"][0]["error"].startswith("wrong values")


@pytest.mark.parametrize("name", DRIVERS)
def test_what_torch_says_of_the_driver_is_kept(tried: dict[str, Any], name: str):
    _, available, warning = DRIVERS[name]

    (result,) = tried[name]

    assert result["said"]["is_available"] is available
    assert warning in " ".join(result["said"]["warnings"])
