from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher.device.cuda_codes import code_of
from launcher.device.policy.plan import DevicePlan
from launcher.launch.retry import LONGEST_PAUSE_S, learn, pause_before
from launcher.run import codes
from launcher.run.heartbeat import EVALUATION, SMOKE
from launcher.run.outcome import Outcome, would_fail_again
from launcher.run.plan import Lessons, New, Resume, RunPlan
from launcher.run.resume import ResumePoint
from tests.values import CPU, TRAINING, TWO_GPUS, a_plan, failed_with, finished_after

NOTHING_LEARNED = Lessons()


def planned(
    devices: DevicePlan = TWO_GPUS,
    *,
    batch: int = 16,
    workers: int = 4,
    first: int = 0,
    accumulate: int = 1,
    lessons: Lessons = NOTHING_LEARNED,
) -> RunPlan:
    point = ResumePoint(path="", next_iteration=first)
    return a_plan(
        {"SOLVER": {"IMS_PER_BATCH": batch}, "DATALOADER": {"NUM_WORKERS": workers}},
        start=Resume(point=point, damaged=(), may_reorder=False) if first else New(archives=False),
        devices=devices,
        task=replace(TRAINING, accumulate=accumulate),
        lessons=lessons,
    )


def device_error(number: int | None, rank: int = 0) -> Outcome:
    return failed_with(code_of(number), cuda_code=number, rank=rank)


@pytest.mark.parametrize("code", [codes.FAILED, codes.DIVERGED, codes.INTERRUPTED, "run.request", "run.data"])
def test_what_would_fail_again_is_not_tried_again(code: str):
    assert learn(planned(), failed_with(code), resumes_from=5) is None


@pytest.mark.parametrize(
    ("ended", "before", "expected"),
    [
        ({"iterations": None}, None, True),
        ({"iterations": 7}, None, False),
        ({"iterations": 7}, {"iterations": 3}, True),
        ({"iterations": 7}, {"iterations": 7, "kind": "KeyError"}, False),
        ({"iterations": 7}, {"iterations": 7, "place": "other.py:run"}, False),
        ({"iterations": None, "place": ""}, {"iterations": None, "place": ""}, False),
    ],
)
def test_an_exception_before_the_first_iteration_or_twice_from_one_place_would_come_again(
    ended: dict[str, Any], before: dict[str, Any] | None, expected: bool
):
    def raised(iterations: int | None, kind: str = "ValueError", place: str = "model.py:forward") -> Outcome:
        return failed_with(codes.FAILED, iterations=iterations, kind=kind, place=place)

    assert would_fail_again(raised(**ended), raised(**before) if before else None) is expected


def test_what_a_device_or_the_system_did_may_not_come_again():
    assert not would_fail_again(failed_with(codes.CRASH, kind="RuntimeError", place="model.py:forward"), None)
    assert not would_fail_again(finished_after(3), None)


def test_out_of_memory_halves_the_images_of_a_pass_until_one_is_left():
    plan = planned(batch=16)
    sizes = []
    while (lessons := learn(plan, failed_with(codes.OUT_OF_MEMORY), resumes_from=0)) is not None:
        sizes.append(lessons.micro_batch)
        plan = planned(batch=16, lessons=lessons, accumulate=8 // (lessons.micro_batch or 1))

    assert sizes == [4, 2, 1]


@pytest.mark.parametrize("code", [codes.PROCESSES, codes.OPEN_FILES, codes.SHARED_MEMORY])
def test_a_limit_that_loaders_take_part_of_is_met_with_half_as_many_until_there_are_none(code: str):
    counts: list[int | None] = []
    plan = planned(workers=4)
    while (lessons := learn(plan, failed_with(code), resumes_from=0)) is not None:
        counts.append(lessons.num_workers)
        plan = planned(workers=lessons.num_workers or 0, lessons=lessons)

    assert counts == [2, 1, 0]


def test_a_killed_loader_costs_half_the_workers_then_all_then_a_plain_retry():
    plan, counts = planned(workers=3), []
    while (lessons := learn(plan, failed_with(codes.LOADER_KILLED), resumes_from=0)) is not None:
        counts.append(lessons.num_workers)
        workers = lessons.num_workers or 0
        plan = planned(workers=workers, lessons=lessons)

    assert counts[:2] == [1, 0]
    assert counts[2:] == [0, 0, 0]  # the bounded plain retries


def test_out_of_host_memory_means_fewer_workers_and_on_the_cpu_a_smaller_micro_batch():
    on_gpu = learn(planned(), failed_with(codes.HOST_MEMORY), resumes_from=0)
    on_cpu = learn(planned(CPU), failed_with(codes.HOST_MEMORY), resumes_from=0)
    at_the_end = learn(planned(CPU, batch=1, workers=0), failed_with(codes.HOST_MEMORY), resumes_from=0)

    assert on_gpu is not None
    assert (on_gpu.num_workers, on_gpu.micro_batch) == (2, None)
    assert on_cpu is not None
    assert (on_cpu.num_workers, on_cpu.micro_batch) == (2, 8)
    assert at_the_end is None


def test_a_sick_gpu_is_left_out_at_once():
    lessons = learn(planned(), device_error(214, rank=1), resumes_from=0)

    assert lessons is not None
    assert list(lessons.avoid_gpus) == ["GPU-b"]
    assert "CUDA error 214" in lessons.reason


def test_a_fault_that_may_be_the_programs_own_leaves_a_gpu_out_only_when_it_comes_again():
    once = learn(planned(), device_error(700, rank=0), resumes_from=0)
    assert once is not None
    twice = learn(planned(lessons=once), device_error(700, rank=0), resumes_from=0)
    elsewhere = learn(planned(lessons=once), device_error(700, rank=1), resumes_from=0)

    assert once.avoid_gpus == {}
    assert twice is not None
    assert list(twice.avoid_gpus) == ["GPU-a"]
    assert elsewhere is not None
    assert elsewhere.avoid_gpus == {}


@pytest.mark.parametrize("number", [710, 209, 98])
def test_an_index_out_of_range_or_missing_code_is_the_same_every_time(number: int):
    assert learn(planned(), device_error(number), resumes_from=0) is None


@pytest.mark.parametrize("code", [codes.CRASH, codes.KILLED, codes.HANG, "run.cuda_error", codes.CHECKPOINT_GONE])
def test_attempts_in_vain_are_bounded(code: str):
    plan, attempts = planned(CPU), 0
    while (lessons := learn(plan, failed_with(code), resumes_from=0)) is not None:
        attempts += 1
        plan = replace(plan, lessons=lessons)

    assert attempts == 3


def test_a_new_checkpoint_counts_as_progress():
    tired = planned(CPU, first=10, lessons=Lessons(in_vain=3))

    assert learn(tired, failed_with(codes.CRASH), resumes_from=10) is None
    again = learn(tired, failed_with(codes.CRASH), resumes_from=20)
    assert again is not None
    assert again.in_vain == 1


@pytest.mark.parametrize("code", [codes.CRASH, codes.HANG])
def test_a_driver_that_hangs_or_crashes_a_cpu_run_is_hidden(code: str):
    in_smoke_test = failed_with(code, stage=SMOKE)

    lessons = learn(planned(CPU), in_smoke_test, resumes_from=0)
    masked_already = learn(planned(replace(CPU, hide_driver=True)), in_smoke_test, resumes_from=0)
    while_training = learn(planned(CPU), failed_with(code, stage="training"), resumes_from=0)

    assert lessons is not None
    assert lessons.hide_driver
    assert masked_already is not None
    assert not masked_already.hide_driver
    assert while_training is not None
    assert not while_training.hide_driver


def test_what_memory_taught_lasts_and_what_gpus_did_does_not():
    lessons = Lessons(avoid_gpus={"GPU-a": "x"}, micro_batch=2, num_workers=1, in_vain=2, hide_driver=True)

    assert lessons.lasting == Lessons(micro_batch=2, num_workers=1)


def test_only_attempts_in_vain_are_waited_for_and_not_for_long():
    assert pause_before(Lessons(micro_batch=2)) == 0
    assert [pause_before(Lessons(in_vain=n)) for n in (1, 2, 3)] == [1, 2, 4]
    assert pause_before(Lessons(in_vain=50)) == LONGEST_PAUSE_S


def test_memory_that_runs_out_in_an_evaluation_does_not_reduce_the_micro_batch():
    assert learn(planned(), failed_with(codes.OUT_OF_MEMORY, stage=EVALUATION), resumes_from=0) is None


def test_an_error_without_a_number_makes_no_gpu_suspicious():
    lessons = learn(planned(), device_error(None), resumes_from=0)

    assert lessons is not None
    assert lessons.suspects == ()
