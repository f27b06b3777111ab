"""The findings of a diagnosis that are reported before a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import DeviceChoice, DeviceRequest
from launcher.config.values import from_plain
from launcher.device.causes.diagnose import diagnose
from launcher.device.facts import DeviceFacts
from launcher.device.policy.plan import plan_devices
from tests.device.recorded import (
    HEALTHY,
    HUNG,
    NO_GPU,
    TWO_GPUS,
    UUIDS,
    changed,
    driver_ends,
    nvml_gpu,
    smoke,
)

CPU = {"choice": DeviceChoice.cpu}
SHORT_OF_ALL = {"disk_free_mib": 10, "shm_mib": 1, "memory_mib": 100, "open_files": 10}
ONE_SICK = changed(TWO_GPUS, torch={"smoke_tests": (smoke(0, failed="context", code=719), smoke(1))})
TWO_SICK = changed(
    TWO_GPUS,
    torch={"smoke_tests": (smoke(0, failed="context", code=719), smoke(1, failed="context", code=719))},
)
WITHOUT_NVML = changed(TWO_GPUS, nvml={"init_code": 18, "gpus": ()})
MACHINES = sorted((Path(__file__).parents[1] / "machines").glob("*.json"))


def notices(facts: DeviceFacts, workers: int = 4, avoid: dict[str, str] | None = None, **asked: Any) -> tuple[str, ...]:
    keys = Keys({"DATALOADER": {"NUM_WORKERS": workers}})
    return plan_devices(DeviceRequest(**asked), keys, diagnose(facts), avoid=avoid or {}).notices


def codes(told: tuple[str, ...]) -> list[str]:
    return [line.rpartition("(")[2].rstrip(")") for line in told]


@pytest.mark.parametrize("asked", [{}, CPU])
@pytest.mark.parametrize("facts", [NO_GPU, HEALTHY, TWO_GPUS], ids=["no GPU", "one", "two"])
def test_a_healthy_machine_is_nothing_to_talk_about(facts: DeviceFacts, asked: dict[str, Any]):
    assert notices(facts, **asked) == ()


@pytest.mark.parametrize(
    "machine",
    [path for path in MACHINES if path.stem.startswith(("handmade", "no_gpu")) or path.stem == "h200"],
    ids=lambda path: path.stem,
)
def test_the_recorded_healthy_machines_give_no_notice(machine: Path):
    facts = from_plain(DeviceFacts, json.loads(machine.read_text())["facts"])

    assert notices(facts) == ()


@pytest.mark.parametrize("asked", [{}, CPU])
def test_what_is_short_around_a_run_is_reported_with_its_code(asked: dict[str, Any]):
    told = notices(changed(HEALTHY, platform=SHORT_OF_ALL), **asked)

    assert codes(told) == ["shm.small", "disk.full", "memory.small", "limits.open_files"]
    assert told[0].startswith("/dev/shm has only 1 MiB free")


def test_what_is_short_for_loader_workers_does_not_matter_without_them():
    assert codes(notices(changed(HEALTHY, platform=SHORT_OF_ALL), workers=0)) == ["disk.full", "memory.small"]


def test_what_concerns_gpus_is_reported_to_runs_that_would_use_them():
    wrong = changed(HEALTHY, environment={"CUDA_VISIBLE_DEVICES": "0,9"})

    assert codes(notices(wrong)) == ["visible.wrong"]
    assert notices(wrong, **CPU) == ()


def test_limits_that_nobody_can_judge_without_nvml_are_named():
    assert notices(WITHOUT_NVML)[0].endswith("unknown (nvml.failed)")
    assert notices(WITHOUT_NVML, max_used=0.1, min_free_gib=8.0)[0].endswith(
        "(nvml.failed); device.min_free_gib=8.0 and device.max_used=0.1 cannot be judged"
    )


def test_a_gpu_that_is_left_out_is_named_with_its_reason():
    assert notices(ONE_SICK) == ("left out: GPU 0 fails: unspecified launch failure (gpu.sick)",)
    assert notices(TWO_GPUS, avoid={UUIDS[1]: "failed in attempt 1"}) == ("left out: GPU 1 failed in attempt 1",)
    full = changed(TWO_GPUS, nvml={"gpus": (nvml_gpu(0), nvml_gpu(1, free_mib=12288))})
    assert notices(full, max_used=0.1)[0].startswith("left out: GPU 1 has 12.0 of 24.0 GiB free: more in use than")


def test_a_gpu_that_was_not_named_or_is_hidden_on_purpose_is_not_left_out():
    hidden = changed(TWO_GPUS, environment={"CUDA_VISIBLE_DEVICES": "0"}, driver={"gpus": HEALTHY.driver.gpus})

    assert notices(ONE_SICK, ids=[1]) == ()
    assert notices(ONE_SICK, **CPU) == ()
    assert notices(hidden) == ()


def test_what_the_reason_or_an_adjustment_covers_is_not_reported_again():
    assert notices(ONE_SICK, count=2) == ()
    assert notices(driver_ends(HUNG)) == ()
    assert notices(ONE_SICK, ids=[0]) == ()


def test_of_two_gpus_that_fail_alike_the_second_is_reported_too():
    assert notices(TWO_SICK) == ("left out: GPU 1 fails: unspecified launch failure (gpu.sick)",)
