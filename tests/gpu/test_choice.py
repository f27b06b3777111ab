"""Which real GPU a launch gets: by name, and beside another launch."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.device.diagnosis import UsableGpu
from launcher.errors import ExitCode
from launcher.run.heartbeat import read_beat
from launcher.run.paths import RunPaths

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(600)]
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def planned(launch: Launch, demo_settings: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    """The devices that a run with these settings would get now."""

    def plan(*settings: str) -> dict[str, Any]:
        done = launch("plan", "--json", *demo_settings, "run.name=planned", *settings)
        assert done.returncode == ExitCode.finished, done.stderr
        return json.loads(done.stdout)["devices"]

    return plan


@contextlib.contextmanager
def in_training(
    settings: tuple[str, ...], folder: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A launch that is in the middle of its iterations, and asked to stop in the end."""
    command = [sys.executable, "-m", "launcher", "train", *settings, "run.name=first", "SOLVER.MAX_ITER=1000000"]
    with open(folder / "first.txt", "wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    heartbeat = RunPaths(folder / "outputs" / "mask_rcnn_R_50_FPN_1x-small" / "first").attempt(1).heartbeat
    try:
        deadline = time.monotonic() + 200
        while not ((beat := read_beat(heartbeat)) and (beat.iterations or 0) > 0):
            assert process.poll() is None, (folder / "first.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        process.wait(120)


@pytest.mark.parametrize("name", ["uuid", "start of the uuid", "index"])
def test_a_gpu_is_chosen_by_name(planned: Callable[..., dict[str, Any]], gpus: tuple[UsableGpu, ...], name: str):
    gpu = gpus[-1]
    if name == "index" and gpu.index is None:
        pytest.skip("a MIG instance has no index")
    names = {"uuid": gpu.uuid, "start of the uuid": gpu.uuid[:20], "index": str(gpu.index)}

    assert planned("device=cuda", f"device.ids=[{names[name]}]")["gpu_uuids"] == [gpu.uuid]


def test_two_launches_do_not_take_the_same_gpu(
    planned: Callable[..., dict[str, Any]],
    launch: Launch,
    demo_settings: tuple[str, ...],
    launcher_environment: dict[str, str],
    gpus: tuple[UsableGpu, ...],
    tmp_path: Path,
):
    only = f"device.ids=[{gpus[0].uuid}]"
    first = (*demo_settings, "device=cuda", only, "DATASETS.TEST=[]")

    with in_training(first, tmp_path, launcher_environment) as process:
        taken, shared, free = planned(only), planned(only, "device.share=true"), planned("device.count=all")
        refused = launch("train", *demo_settings, "run.name=second", "device=cuda", only)
        process.terminate()
        status = process.wait(120)
    after = planned(only)

    promised = "SLURM_JOB_ID" in os.environ
    assert promised or taken["kind"] == "cpu"
    assert "taken by another launcher" in taken["reason"]
    assert shared["gpu_uuids"] == [gpus[0].uuid]
    assert gpus[0].uuid not in free["gpu_uuids"]
    assert refused.returncode == ExitCode.device_refused
    assert "taken by another launcher" in refused.stderr
    assert status == ExitCode.resumable
    assert after["gpu_uuids"] == [gpus[0].uuid]


def test_a_gpu_stays_taken_while_the_worker_of_a_killed_launcher_lives(
    planned: Callable[..., dict[str, Any]],
    demo_settings: tuple[str, ...],
    launcher_environment: dict[str, str],
    gpus: tuple[UsableGpu, ...],
    tmp_path: Path,
):
    """The worker notices, finishes its iteration and saves; only then another launch may have the GPU."""
    only = f"device.ids=[{gpus[0].uuid}]"

    with in_training((*demo_settings, "device=cuda", only, "DATASETS.TEST=[]"), tmp_path, launcher_environment) as one:
        one.kill()
        one.wait(20)
        deadline = time.monotonic() + 120
        while planned(only)["gpu_uuids"] != [gpus[0].uuid]:
            assert time.monotonic() < deadline

    run = RunPaths(tmp_path / "outputs" / "mask_rcnn_R_50_FPN_1x-small" / "first")
    assert list(run.checkpoints.glob("model_*.pth"))
