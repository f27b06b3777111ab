from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import DeviceChoice, DeviceRequest, RunRequest
from launcher.data.plan import DatasetPlan
from launcher.device.bfloat16 import Bfloat16Facts, LayerKind
from launcher.errors import DataError, DeviceUnavailableError, ExitCode, LauncherError
from launcher.launch.prepare import Since, prepare, prepare_again
from launcher.launch.record import record_start
from launcher.run.plan import Lessons
from tests.device.recorded import HEALTHY, NO_GPU
from tests.launch.conducted import KEYS, World, request_in

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


MIXED = {**KEYS, "SOLVER": {**KEYS["SOLVER"], "AMP": {"ENABLED": True}}}
FASTER = Bfloat16Facts(
    layers=(LayerKind(name="linear layers", float32_s=2.0, bfloat16_s=1.0, difference=0.002),), problem=""
)


def mixed_in(folder: Path, **settings: Any) -> RunRequest:
    return replace(request_in(folder, **settings), keys=Keys(MIXED))


def test_mixed_precision_that_a_run_on_the_cpu_asks_for_is_measured_and_the_measurement_is_a_fact(tmp_path: Path):
    world = World(bfloat16=FASTER)

    prepared = prepare(mixed_in(tmp_path), world.session(), Since(began=0.0))

    assert prepared.plan.devices.precision == "bfloat16"
    assert prepared.plan.keys["SOLVER.AMP.ENABLED"] is True
    assert prepared.facts.bfloat16 == FASTER


@pytest.mark.parametrize("asked", ["nothing", "a GPU"])
def test_nothing_is_measured_for_who_does_not_ask_for_it_or_has_a_gpu(tmp_path: Path, asked: str):
    world = World(bfloat16=FASTER, facts=(HEALTHY,) if asked == "a GPU" else (NO_GPU,))
    request = mixed_in(tmp_path) if asked == "a GPU" else request_in(tmp_path)

    prepared = prepare(request, world.session(), Since(began=0.0))

    assert prepared.plan.devices.kind == ("cuda" if asked == "a GPU" else "cpu")
    assert world.measured == 0
    assert prepared.facts.bfloat16 is None


def test_a_run_that_resumes_on_the_cpu_keeps_its_precision_unless_it_starts_over(tmp_path: Path):
    request = mixed_in(tmp_path)
    first = prepare(request, World(bfloat16=FASTER).session(), Since(began=0.0))
    record_start(request, first.plan, first.facts, ["launcher", "train"], {}, at=0.0)
    world = World()  # in which bfloat16 cannot be measured any more

    again = prepare(request, world.session(), Since(began=0.0))
    over = prepare(replace(request, resume="never"), world.session(), Since(began=0.0))

    assert again.plan.devices.precision == "bfloat16"
    assert over.plan.devices.precision == ""
    assert world.measured == 1


def test_a_run_that_loses_its_gpu_has_bfloat16_measured_then(tmp_path: Path):
    request = mixed_in(tmp_path)
    first = prepare(request, World(facts=(HEALTHY,)).session(), Since(began=0.0))
    record_start(request, first.plan, first.facts, ["launcher", "train"], {}, at=0.0)
    world = World(bfloat16=FASTER)

    again = prepare_again(request, world.session(), first.plan.data, Since(began=0.0, lessons=Lessons()))

    assert (first.plan.devices.kind, again.plan.devices.kind) == ("cuda", "cpu")
    assert (again.plan.devices.precision, world.measured) == ("bfloat16", 1)
