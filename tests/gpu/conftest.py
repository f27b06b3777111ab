"""What tests on real GPUs need. Without a GPU they are skipped; this process itself never touches CUDA."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Diagnosis, UsableGpu
from launcher.device.facts import DeviceFacts
from launcher.device.look.probe import look_at_devices
from launcher.device.policy.choice import by_default
from launcher.errors import ExitCode
from launcher.run.paths import RunPaths

BFLOAT16_SINCE = (8, 0)


@pytest.fixture(scope="session")
def facts() -> DeviceFacts:
    """Of this machine, on which somebody sees an NVIDIA GPU."""
    facts = look_at_devices(os.environ, full=False)
    if not any(part and part.gpus for part in (facts.driver, facts.nvml)):
        pytest.skip("no NVIDIA GPU here")
    return facts


@pytest.fixture(scope="session")
def diagnosis(facts: DeviceFacts) -> Diagnosis:
    return by_default(diagnose(facts))


@pytest.fixture(scope="session")
def gpus(diagnosis: Diagnosis) -> tuple[UsableGpu, ...]:
    """Those that can train, at least one."""
    if not diagnosis.usable_gpus:
        pytest.skip(f"no NVIDIA GPU here that can be used: {diagnosis.verdict}")
    return diagnosis.usable_gpus


@pytest.fixture(scope="session")
def two_gpus(gpus: tuple[UsableGpu, ...]) -> tuple[UsableGpu, UsableGpu]:
    if len(gpus) < 2:
        pytest.skip("only one NVIDIA GPU here")
    return gpus[0], gpus[1]


@pytest.fixture
def train(
    launch: Callable[..., CompletedProcess[str]], demo_settings: tuple[str, ...], tmp_path: Path
) -> Callable[..., RunPaths]:
    """Train the tiny model on a GPU to its end, and return the run's folder."""

    def run(name: str, *settings: str, expect: int = ExitCode.finished, **environment: str) -> RunPaths:
        done = launch(
            "train",
            *demo_settings,
            "device=cuda",
            "config_extensions=[tests.gpu.inside:install]",
            f"run.name={name}",
            *settings,
            timeout_s=800,
            GPU_NOTES=str(tmp_path / name),
            **environment,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return RunPaths(tmp_path / "outputs" / "mask_rcnn_R_50_FPN_1x-small" / name)

    return run


@pytest.fixture
def notes(tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """What the processes of a training noted in each iteration."""
    return lambda name: [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
