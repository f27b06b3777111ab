from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.request import DeviceChoice, DeviceRequest, RunRequest
from launcher.data.plan import DatasetPlan
from launcher.errors import DataError, DeviceUnavailableError, ExitCode, LauncherError
from launcher.launch.prepare import Since, prepare
from tests.device.recorded import NO_GPU
from tests.launch.conducted import World, request_in

INSISTING = DeviceRequest(choice=DeviceChoice.cuda)


def refuse_data(_: RunRequest) -> DatasetPlan:
    raise DataError("the data set cannot be used: it is not there.")


def test_preparing_writes_nothing(tmp_path: Path):
    prepared = prepare(request_in(tmp_path), World().session(), Since(began=0.0))

    assert prepared.facts == NO_GPU
    assert prepared.plan.folder == str(tmp_path / "model-a" / "run")
    assert list(tmp_path.iterdir()) == []


def test_problems_with_data_and_devices_are_reported_together_with_the_first_ones_exit_code(tmp_path: Path):
    world = World(plan_data=refuse_data)

    with pytest.raises(LauncherError) as refused:
        prepare(request_in(tmp_path, device=INSISTING), world.session(), Since(began=0.0))

    first, second = str(refused.value).splitlines()
    assert first == "the data set cannot be used: it is not there."
    assert second.startswith("device.choice=cuda requires a GPU")
    assert refused.value.exit_code == ExitCode.data_wrong


def test_a_single_problem_is_reported_as_it_is(tmp_path: Path):
    with pytest.raises(DeviceUnavailableError, match=r"^device\.choice=cuda requires"):
        prepare(request_in(tmp_path, device=INSISTING), World().session(), Since(began=0.0))
