"""Loader workers where /dev/shm is small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import DeviceChoice, DeviceRequest, Scaling
from launcher.config.values import from_plain
from launcher.device.causes.diagnose import diagnose
from launcher.device.facts import DeviceFacts
from launcher.device.policy.plan import DevicePlan, plan_devices
from launcher.device.policy.shared_memory import needed_per_worker_mib
from tests.device.recorded import NO_GPU, changed
from tests.values import changed_keys

MACHINES = sorted((Path(__file__).parents[1] / "machines").glob("handmade*.json"))
KEYS = Keys({
    "MODEL": {"DEVICE": "cuda", "MASK_ON": True, "META_ARCHITECTURE": "GeneralizedRCNN"},
    "INPUT": {"MIN_SIZE_TRAIN": [640, 800], "MAX_SIZE_TRAIN": 1333, "MASK_FORMAT": "polygon"},
    "SOLVER": {"IMS_PER_BATCH": 16, "REFERENCE_WORLD_SIZE": 0},
    "DATALOADER": {"NUM_WORKERS": 4},
})  # fmt: skip


def plan(shm: dict[str, Any], count: int = 1, scaling: Scaling = Scaling.keep_batch, **keys: Any) -> DevicePlan:
    asked = DeviceRequest(choice=DeviceChoice.cpu, count=count)
    return plan_devices(asked, changed_keys(KEYS, **keys), diagnose(changed(NO_GPU, platform=shm)), scaling=scaling)


def workers_of(plan: DevicePlan) -> int | None:
    return next((one.planned for one in plan.adjustments if one.setting == "DATALOADER.NUM_WORKERS"), None)


@pytest.mark.parametrize(
    ("shm", "changes", "planned"),
    [
        ({"shm_mib": 16000}, {}, None),
        ({"shm_mib": None}, {}, None),
        ({"shm_mib": 64}, {}, 0),
        ({"shm_mib": 16000, "shm_free_mib": 64}, {}, 0),
        ({"shm_mib": 200}, {}, 2),
        ({"shm_mib": 64}, {"SOLVER__IMS_PER_BATCH": 2}, None),
        ({"shm_mib": 64}, {"INPUT__MIN_SIZE_TRAIN": 128, "INPUT__MAX_SIZE_TRAIN": 128}, None),
        ({"shm_mib": 64}, {"INPUT__MIN_SIZE_TRAIN": [0]}, None),
        ({"shm_mib": 64}, {"DATALOADER__NUM_WORKERS": 0}, None),
        ({"shm_mib": 64, "num_cpus": 2}, {}, 0),
        ({"shm_mib": 500}, {"INPUT__MASK_FORMAT": "bitmask"}, 1),
        ({"shm_mib": 500}, {"MODEL__META_ARCHITECTURE": "PanopticFPN"}, 1),
        ({"shm_mib": 500}, {"INPUT__MAX_SIZE_TRAIN": 99999}, None),
        ({"shm_mib": 300}, {"count": 2}, 3),
        ({"shm_mib": 64}, {"SOLVER__REFERENCE_WORLD_SIZE": 16, "scaling": Scaling.linear}, None),
        ({"shm_mib": 64}, {"SOLVER__REFERENCE_WORLD_SIZE": 2, "scaling": Scaling.linear}, 1),
    ],
)
def test_workers_are_as_many_as_shared_memory_has_room_for(
    shm: dict[str, Any], changes: dict[str, Any], planned: int | None
):
    assert workers_of(plan(shm, **changes)) == planned


def test_the_reason_names_what_is_there_and_what_was_needed():
    (workers,) = (one for one in plan({"shm_mib": 64}).adjustments if one.setting == "DATALOADER.NUM_WORKERS")

    assert workers.asked == 4
    assert workers.reason == "/dev/shm has 64 MiB free; 4 workers need up to 388 MiB (shm.small)"


def test_without_workers_nothing_is_said_of_those_that_may_die():
    assert not any("shm.small" in line for line in plan({"shm_mib": 64}).notices)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda path: path.stem)
def test_no_healthy_machine_loses_workers_to_shared_memory(machine: Path):
    facts = from_plain(DeviceFacts, json.loads(machine.read_text())["facts"])

    planned = plan_devices(DeviceRequest(), KEYS, diagnose(facts))

    assert not any("/dev/shm" in one.reason for one in planned.adjustments)


def test_the_size_of_a_batch_follows_the_largest_image():
    assert needed_per_worker_mib(KEYS, 16) == 2 * 16 * 800 * 1333 * 3 // (1 << 20)
