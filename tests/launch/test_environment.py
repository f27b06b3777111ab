"""The worker's environment variables and the driver mask."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.device.policy.plan import DevicePlan
from launcher.launch.environment import worker_environment, write_empty_libraries
from launcher.run.handover import SHORT_WAITS, with_short_waits


def plan(**differences: object) -> DevicePlan:
    usual: dict[str, object] = {
        "kind": "cpu", "asked": "auto", "reason": "", "gpu_uuids": (), "num_processes": 1,
        "environment": {"CUDA_VISIBLE_DEVICES": ""}, "hide_driver": False, "adjustments": (),
    }  # fmt: skip
    return DevicePlan(**{**usual, **differences})  # type: ignore[arg-type]


def test_the_plan_wins_over_what_the_launcher_inherited():
    environment = worker_environment(plan(), {"CUDA_VISIBLE_DEVICES": "3", "HOME": "/home/me"}, None)

    assert environment == {"CUDA_VISIBLE_DEVICES": "", "HOME": "/home/me", **SHORT_WAITS}


def test_none_removes_a_variable():
    assert worker_environment(plan(environment={"A": None}), {"A": "1", "B": "2"}, None) == {"B": "2", **SHORT_WAITS}


def test_a_default_gives_way_to_what_the_user_exported():
    threads = plan(default_environment={"OMP_NUM_THREADS": "4"}, environment={})

    assert worker_environment(threads, {}, None) == {"OMP_NUM_THREADS": "4", **SHORT_WAITS}
    assert worker_environment(threads, {"OMP_NUM_THREADS": "1"}, None) == {"OMP_NUM_THREADS": "1", **SHORT_WAITS}


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "300000"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_threads_wait_as_the_user_says(own: dict[str, str]):
    assert worker_environment(plan(environment={}), own, None) == own


def test_a_worker_that_was_started_before_its_plan_has_the_environment_that_the_plan_asks_for():
    early = with_short_waits({"HOME": "/home/me"})

    planned = worker_environment(plan(environment={"CUDA_VISIBLE_DEVICES": ""}), {"HOME": "/home/me"}, None)

    assert {name for name in planned if planned[name] != early.get(name)} == {"CUDA_VISIBLE_DEVICES"}


def test_the_empty_libraries_come_before_the_users_own(tmp_path: Path):
    masked = plan(hide_driver=True)

    assert (
        worker_environment(masked, {"LD_LIBRARY_PATH": "/opt/lib"}, tmp_path)["LD_LIBRARY_PATH"]
        == f"{tmp_path}:/opt/lib"
    )
    assert worker_environment(masked, {}, tmp_path)["LD_LIBRARY_PATH"] == str(tmp_path)


def test_empty_libraries_are_only_used_where_the_plan_hides_the_driver(tmp_path: Path):
    assert "LD_LIBRARY_PATH" not in worker_environment(plan(), {}, tmp_path)


def test_the_folder_holds_empty_driver_libraries_and_can_be_written_twice(tmp_path: Path):
    write_empty_libraries(tmp_path / "mask")
    folder = write_empty_libraries(tmp_path / "mask")

    assert {path.name: path.stat().st_size for path in folder.iterdir()} == {"libcuda.so.1": 0, "libnvidia-ml.so.1": 0}
