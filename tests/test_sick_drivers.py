"""Real trainings on the CPU of machines whose driver or GPU is sick: the real torch, a pretended driver."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import ExitCode
from launcher.run.paths import RunPaths
from tests.exact import outcome_in
from tests.fakegpu import FakeGpu, Gpu, Machine, why_not_compiled

pytestmark = pytest.mark.slow

SICK = {
    "the driver hangs": (Machine(gpus=(Gpu(),), init="hang", nvml="hang"), "driver.hangs", True),
    "the driver crashes": (Machine(gpus=(Gpu(),), init="segv"), "driver.crashes", True),
    "memory errors": (Machine(gpus=(Gpu(ctx=214),)), "gpu.sick", False),
    "exclusive use by another process": (Machine(gpus=(Gpu(ctx=46, mode=3, pids="77"),)), "gpu.busy", False),
}


@pytest.fixture(scope="module")
def fakegpu(tmp_path_factory: pytest.TempPathFactory) -> FakeGpu:
    if why_not := why_not_compiled():
        pytest.skip(why_not)
    return FakeGpu(tmp_path_factory.mktemp("fakegpu"))


@pytest.mark.parametrize(("machine", "code", "masked"), SICK.values(), ids=SICK.keys())
def test_a_training_on_the_cpu_comes_to_its_end(
    launch: Callable[..., subprocess.CompletedProcess[str]],
    demo_settings: tuple[str, ...],
    fakegpu: FakeGpu,
    tmp_path: Path,
    machine: Machine,
    code: str,
    masked: bool,
):
    sick = fakegpu.environ(os.environ, machine, alive=True)
    changed = {name: value for name, value in sick.items() if os.environ.get(name) != value}

    done = launch("train", *demo_settings, "SOLVER.MAX_ITER=2", "run.name=s", "device.patience_s=2", **changed)

    assert done.returncode == ExitCode.finished, done.stderr
    run = RunPaths(tmp_path / "outputs" / "mask_rcnn_R_50_FPN_1x-small" / "s")
    assert run.attempt_numbers() == [1]
    assert outcome_in(run.attempt(1))["iterations"] == 2
    devices = json.loads(run.attempt(1).plan.read_text())["devices"]
    assert (devices["kind"], devices["hide_driver"]) == ("cpu", masked)

    # Without a hint from the plan, the facts alone say why.
    from launcher.config.values import read_json
    from launcher.device.causes.diagnose import diagnose
    from launcher.device.facts import DeviceFacts

    assert code in [finding.code for finding in diagnose(read_json(run.attempt(1).facts, DeviceFacts)).findings]
