from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.config.request import DeviceChoice, DeviceRequest
from launcher.errors import RequestError
from launcher.launch.attempts import launch
from launcher.launch.claims import HandedOver
from launcher.launch.folder_lock import FolderBusyError, lock_folder
from launcher.run import codes
from launcher.run.fence import FencedError
from launcher.run.heartbeat import SMOKE
from launcher.run.outcome import Ending, Outcome
from launcher.run.plan import Finished, New, RunPlan
from tests.device.recorded import HEALTHY, NO_GPU, TWO_GPUS
from tests.launch.conducted import World, request_in
from tests.values import failed_with, finished_after

FIRST, SECOND = (gpu.uuid for gpu in TWO_GPUS.nvml.gpus) if TWO_GPUS.nvml else ("", "")
DONE = finished_after(100)


def run_folder(folder: Path) -> Path:
    return folder / "model-a" / "run"


def is_free(folder: Path) -> bool:
    with lock_folder(run_folder(folder)):
        return True


def stopped() -> Outcome:
    done = finished_after(40)
    return Outcome(
        ending=Ending.stopped, exit_code=75, code="", explanation="", seconds=1.0, work=done.work, fault=None
    )


@pytest.mark.parametrize("end", [DONE, stopped()], ids=["finished", "stopped"])
def test_an_attempt_that_ends_in_order_is_the_only_one(tmp_path: Path, end: Outcome):
    world = World(ends=(end,))

    ended = launch(request_in(tmp_path), world.session())

    assert ended.outcome == end
    assert [plan.attempt for plan in world.carried_out] == [1]
    attempt = ended.plan.attempt_paths
    assert json.loads(attempt.outcome.read_text())["ending"] == end.ending.value
    assert all(file.exists() for file in (attempt.plan, attempt.facts, ended.plan.paths.request))


def test_what_holds_the_folder_and_the_gpus_is_inherited_by_the_worker(tmp_path: Path):
    world = World(facts=(HEALTHY,))

    launch(request_in(tmp_path), world.session())

    lock, *gpus = world.inherited[0]
    assert lock > 2
    assert gpus == [100]
    assert world.claimed == set()
    assert is_free(tmp_path)


def test_a_gpu_that_somebody_took_meanwhile_is_planned_around(tmp_path: Path):
    world = World(facts=(TWO_GPUS,), taken=({FIRST: "is taken by another launcher"},))

    ended = launch(request_in(tmp_path), world.session())

    assert ended.plan.devices.gpu_uuids == (SECOND,)
    assert len(world.carried_out) == 1
    assert world.looked_at_data == 1
    assert "GPU 0 is taken by another launcher" in world.text


def test_when_the_last_gpu_is_lost_to_others_the_run_falls_back(tmp_path: Path):
    world = World(facts=(HEALTHY,), taken=({FIRST: "is taken by another launcher"},))

    ended = launch(request_in(tmp_path), world.session())

    assert ended.plan.devices.kind == "cpu"


def test_a_gpu_that_was_claimed_for_this_launch_is_neither_taken_nor_claimed_again(tmp_path: Path):
    world = World(facts=(HEALTHY,), handed_over=HandedOver(uuids=frozenset({FIRST, SECOND}), descriptors=(55,)))
    session = replace(world.session(), look_at_claims=lambda uuids: dict.fromkeys(uuids, "is taken by another"))
    during: list[set[str]] = []
    world.meanwhile = lambda _: during.append(set(world.claimed))

    ended = launch(request_in(tmp_path), session)

    assert ended.plan.devices.gpu_uuids
    assert during == [set()]
    assert 55 in world.inherited[0], "the worker keeps it"


def test_shared_gpus_are_not_claimed(tmp_path: Path):
    world = World(facts=(HEALTHY,), taken=({}, {FIRST: "is taken"}))

    launch(request_in(tmp_path, device=DeviceRequest(share=True)), world.session())

    assert world.inherited[0][1:] == ()


def test_a_killed_loader_is_tried_again_with_fewer_workers_and_without_reading_the_data_again(tmp_path: Path):
    world = World(ends=(failed_with(codes.LOADER_KILLED), failed_with(codes.LOADER_KILLED), DONE))

    ended = launch(request_in(tmp_path), world.session())

    assert [plan.keys["DATALOADER.NUM_WORKERS"] for plan in world.carried_out] == [4, 2, 1]
    assert [plan.attempt for plan in world.carried_out] == [1, 2, 3]
    assert (world.looked_at_data, world.looked_at_devices) == (1, 3)
    assert ended.outcome == DONE
    assert f"attempt 1 failed: it failed [{codes.LOADER_KILLED}]" in world.text


def test_memory_that_runs_out_halves_the_micro_batch(tmp_path: Path):
    world = World(ends=(failed_with(codes.OUT_OF_MEMORY, exit_code=76), DONE))

    launch(request_in(tmp_path), world.session())

    assert [plan.micro_batch for plan in world.carried_out] == [2, 1]
    assert [plan.task.accumulate for plan in world.carried_out] == [1, 2]


def test_a_gpu_that_goes_is_left_out_and_the_others_stay_claimed(tmp_path: Path):
    during: list[set[str]] = []
    world = World(facts=(TWO_GPUS,), ends=(failed_with("gpu.sick", cuda_code=214), DONE))
    world.sleep = lambda _: during.append(set(world.claimed))

    ended = launch(request_in(tmp_path, device=DeviceRequest(count=2)), world.session())

    assert [plan.devices.gpu_uuids for plan in world.carried_out] == [(FIRST, SECOND), (SECOND,)]
    assert during == [{FIRST, SECOND}]
    assert ended.plan.lessons.avoid_gpus.keys() == {FIRST}
    assert world.claimed == set()


def test_a_gpu_that_has_left_the_machine_between_two_attempts_is_not_planned_with(tmp_path: Path):
    world = World(facts=(HEALTHY, NO_GPU), ends=(failed_with(codes.CRASH), DONE))

    launch(request_in(tmp_path), world.session())

    assert [plan.devices.kind for plan in world.carried_out] == ["cuda", "cpu"]


def test_a_driver_that_hangs_a_cpu_run_is_hidden_from_the_next(tmp_path: Path):
    world = World(ends=(failed_with(codes.HANG, stage=SMOKE), DONE))

    launch(request_in(tmp_path), world.session())

    before, after = (environment.get("LD_LIBRARY_PATH") for environment in world.environments)
    assert before is None
    assert after is not None
    assert Path(after, "libcuda.so.1").read_bytes() == b""


def test_failures_without_progress_are_tried_again_with_growing_pauses_and_then_no_more(tmp_path: Path):
    world = World(ends=[failed_with(codes.CRASH)] * 4)

    ended = launch(request_in(tmp_path), world.session())

    assert world.slept == [1.0, 2.0, 4.0]
    assert ended.outcome == failed_with(codes.CRASH)
    assert ended.plan.attempt == 4


@pytest.mark.parametrize(
    "end",
    [
        *map(failed_with, (codes.DIVERGED, codes.FAILED, codes.INTERRUPTED, "run.request", "run.data")),
        failed_with("run.assert", cuda_code=710),
    ],
    ids=lambda end: end.code,
)
def test_what_would_fail_again_is_not_tried_again(tmp_path: Path, end: Outcome):
    assert launch(request_in(tmp_path), World(ends=(end,)).session()).outcome == end


def test_what_the_last_command_has_ended_with_too_would_come_again(tmp_path: Path):
    raised = failed_with(codes.FAILED, iterations=7, kind="ValueError", place="model.py:forward")

    first = launch(request_in(tmp_path), World(ends=(raised,)).session())
    second = launch(request_in(tmp_path), World(ends=(raised,)).session())

    assert [first.would_fail_again, second.would_fail_again] == [False, True]


def test_a_training_in_the_launchers_own_process_is_not_tried_again(tmp_path: Path):
    world = World(ends=(failed_with(codes.CRASH),))

    launch(request_in(tmp_path, run={"in_place": True}), world.session())

    assert len(world.carried_out) == 1


def test_a_stop_between_two_attempts_lets_go_of_everything(tmp_path: Path):
    def stop(_: float) -> None:
        raise SystemExit(75)

    world = World(facts=(HEALTHY,), ends=(failed_with(codes.CRASH),), sleep=stop)

    with pytest.raises(SystemExit):
        launch(request_in(tmp_path), world.session())

    assert world.claimed == set()
    assert is_free(tmp_path)
    assert len(world.carried_out) == 1


def test_a_finished_run_is_reported_and_not_trained(tmp_path: Path):
    launch(request_in(tmp_path), World().session())
    world = World()

    ended = launch(request_in(tmp_path), world.session())

    assert ended.plan.start == Finished(stopped_early=None)
    assert ended.outcome == DONE
    assert world.carried_out == []


def test_starting_over_archives_the_old_run_once_and_retries_continue_the_new_one(tmp_path: Path):
    launch(request_in(tmp_path), World().session())
    world = World(ends=(failed_with(codes.CRASH), DONE))

    launch(request_in(tmp_path, resume="never"), world.session())

    assert [(plan.attempt, plan.start) for plan in world.carried_out] == [
        (1, New(archives=True)),
        (2, New(archives=False)),
    ]
    assert run_folder(tmp_path).with_name("run.1").is_dir()
    assert not run_folder(tmp_path).with_name("run.2").exists()
    assert "run.1" in world.text


def test_lessons_of_one_command_are_kept_for_the_next(tmp_path: Path):
    launch(request_in(tmp_path), World(ends=(failed_with(codes.LOADER_KILLED), failed_with(codes.FAILED))).session())
    world = World()

    launch(request_in(tmp_path), world.session())

    assert [plan.keys["DATALOADER.NUM_WORKERS"] for plan in world.carried_out] == [2]


@pytest.mark.parametrize("choice", [DeviceChoice.auto, DeviceChoice.cpu])
def test_the_worker_of_a_cpu_run_is_shown_no_gpu(tmp_path: Path, choice: Any):
    world = World()

    launch(request_in(tmp_path, device=DeviceRequest(choice=choice)), world.session())

    assert world.environments[0]["CUDA_VISIBLE_DEVICES"] == ""
    assert world.environments[0]["HOME"] == "/home/me"


def test_a_busy_folder_is_refused_before_a_plan_is_shown(tmp_path: Path):
    world = World()

    with lock_folder(run_folder(tmp_path)), pytest.raises(FolderBusyError):
        launch(request_in(tmp_path), world.session())

    assert (world.text, world.looked_at_devices, world.carried_out) == ("", 0, [])


def test_a_run_folder_that_cannot_be_renamed_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    launch(request_in(tmp_path), World().session())

    def refuse(*_: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(RequestError, match=r"mount point.*run\.name"):
        launch(request_in(tmp_path, resume="never"), World().session())


@pytest.mark.parametrize("how", ["renamed", "deleted"])
def test_a_run_folder_that_goes_in_mid_run_is_not_made_again(tmp_path: Path, how: str):
    def go(plan: RunPlan) -> None:
        if how == "renamed":
            plan.paths.folder.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(plan.paths.folder)

    world = World(ends=(failed_with(codes.CRASH), DONE), meanwhile=go)

    with pytest.raises(FencedError, match="was renamed, deleted or replaced"):
        launch(request_in(tmp_path), world.session())

    assert len(world.carried_out) == 1
    assert not run_folder(tmp_path).exists()
