"""What other numbers of processes mean for batch, passes and learning rate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.config.keys import Keys
from launcher.config.request import DeviceRequest, RunRequest, Scaling
from launcher.launch.scaling import ScalingPlan, plan_scaling, scale_to
from tests.values import a_request

KEEP, LINEAR, NONE = Scaling.keep_batch, Scaling.linear, Scaling.none


def keys(batch: int = 16, reference: int = 0) -> Keys:
    return Keys(
        {
            "SOLVER": {
                "IMS_PER_BATCH": batch,
                "REFERENCE_WORLD_SIZE": reference,
                "BASE_LR": 0.02,
                "MAX_ITER": 90_000,
                "STEPS": [60_000, 80_000],
                "WARMUP_ITERS": 1000,
                "CHECKPOINT_PERIOD": 5000,
            },
            "TEST": {"EVAL_PERIOD": 0},
        }
    )


def ask(scaling: Scaling, keys: Keys, *, count: Any = 1, micro_batch: int = 0) -> RunRequest:
    return a_request(keys, device=DeviceRequest(count=count, micro_batch=micro_batch), scaling=scaling)


def planned(
    scaling: Scaling = KEEP,
    *,
    batch: int = 16,
    reference: int = 0,
    count: Any = 1,
    micro_batch: int = 0,
    processes: int = 1,
    learned: int | None = None,
) -> ScalingPlan:
    request = ask(scaling, keys(batch, reference), count=count, micro_batch=micro_batch)
    return plan_scaling(request, num_processes=processes, kind="cuda", learned_micro_batch=learned)


@pytest.mark.parametrize(
    ("settings", "accumulate"),
    [
        pytest.param({"reference": 8}, 8, id="made for 8, on 1: as many passes"),
        pytest.param({"reference": 8, "processes": 2}, 4, id="made for 8, on 2"),
        pytest.param({"reference": 8, "processes": 8}, 1, id="as made"),
        pytest.param({"reference": 8, "processes": 16}, 1, id="on more than it was made for"),
        pytest.param({"count": 4, "processes": 1}, 4, id="4 asked for, 1 there"),
        pytest.param({"count": 4, "reference": 8, "processes": 4}, 2, id="the reference comes before the count"),
        pytest.param({"count": "all", "processes": 2}, 1, id="nothing says what it was made for"),
        pytest.param({"batch": 7, "reference": 2}, 2, id="unequal passes"),
        pytest.param({"micro_batch": 3}, 6, id="typed"),
        pytest.param({"micro_batch": 16, "reference": 8}, 1, id="typed before the reference"),
        pytest.param({"learned": 4}, 4, id="learned"),
        pytest.param({"learned": 1, "reference": 8}, 16, id="learned to be less than the reference"),
        pytest.param({"learned": 8, "reference": 8}, 8, id="learned to be more than the reference"),
        pytest.param({"learned": 1, "micro_batch": 4}, 16, id="learned to be less than typed"),
    ],
)
def test_the_batch_is_kept_by_accumulating_over_micro_batches(settings: dict[str, Any], accumulate: int):
    plan = planned(**settings)

    assert plan.accumulate == accumulate
    assert {each.setting for each in plan.adjustments} <= {"micro-batch per process"}


@pytest.mark.parametrize("scaling", [LINEAR, NONE])
def test_other_ways_of_scaling_split_a_batch_only_where_a_number_is_typed_or_learned(scaling: Scaling):
    assert planned(scaling, count=4).accumulate == 1
    assert planned(scaling, micro_batch=4).accumulate == 4
    assert planned(scaling, learned=2).accumulate == 8
    assert planned(NONE, reference=8).accumulate == 1


def test_a_smaller_micro_batch_is_reported_with_numbers_and_reason():
    (told,) = planned(reference=8, processes=2).adjustments

    assert (told.setting, told.asked, told.planned) == ("micro-batch per process", 8, 2)
    assert told.reason == (
        "configured for SOLVER.REFERENCE_WORLD_SIZE=8, and there are 2 GPUs: "
        "gradients are accumulated over 4 micro-batches per step"
    )


def test_linear_scaling_changes_batch_rate_and_schedule_and_splits_what_comes_out():
    plan = planned(LINEAR, reference=8, processes=2, micro_batch=1)

    solver = keys(reference=8).with_(plan.adjustments)["SOLVER"]
    assert (solver["IMS_PER_BATCH"], solver["BASE_LR"], solver["MAX_ITER"]) == (4, 0.005, 360_000)
    assert plan.accumulate == 2


@pytest.mark.parametrize(
    ("scaling", "reference", "processes", "notice"),
    [
        (KEEP, 8, 1, "SOLVER.REFERENCE_WORLD_SIZE=8, and there is 1 process: batch, learning rate and schedule stay"),
        (NONE, 8, 2, "SOLVER.REFERENCE_WORLD_SIZE=8, and there are 2 processes: batch"),
        (LINEAR, 0, 2, "scaling=linear has no effect without SOLVER.REFERENCE_WORLD_SIZE"),
    ],
)
def test_a_reference_that_does_not_do_what_one_may_expect_is_reported(
    scaling: Scaling, reference: int, processes: int, notice: str
):
    (told,) = planned(scaling, reference=reference, processes=processes).notices

    assert told.startswith(notice)


@pytest.mark.parametrize(("scaling", "reference"), [(KEEP, 0), (KEEP, 4), (LINEAR, 8), (LINEAR, 4), (NONE, 0)])
def test_where_nothing_is_unexpected_nothing_is_reported(scaling: Scaling, reference: int):
    assert planned(scaling, reference=reference, processes=4).notices == ()


@given(
    scaling=st.sampled_from([KEEP, NONE]),
    share=st.integers(1, 64),
    processes=st.integers(1, 16),
    reference=st.integers(0, 32),
    count=st.one_of(st.just("all"), st.integers(1, 16)),
    micro_batch=st.integers(0, 80),
    learned=st.one_of(st.none(), st.integers(1, 80)),
)
def test_whatever_the_numbers_the_batch_stays_and_no_pass_is_empty_or_above_its_limit(
    scaling: Scaling,
    share: int,
    processes: int,
    reference: int,
    count: Any,
    micro_batch: int,
    learned: int | None,
):
    batch = share * processes

    plan = planned(
        scaling,
        batch=batch,
        processes=processes,
        reference=reference,
        count=count,
        micro_batch=micro_batch,
        learned=learned,
    )

    largest_pass = -(-share // plan.accumulate)
    made_for = reference or (count if count != "all" else processes)
    assert keys(batch, reference).with_(plan.adjustments) == keys(batch, reference)
    assert 1 <= plan.accumulate <= share
    of_reference = micro_batch or (-(-batch // made_for) if scaling is KEEP else share)
    limits = [of_reference, learned or share]
    assert largest_pass <= min(limits)
    # No more passes than it takes.
    assert plan.accumulate == 1 or -(-share // (plan.accumulate - 1)) > min(limits)


@given(images=st.integers(1, 8), reference=st.integers(1, 16), processes=st.integers(1, 16))
def test_linear_scaling_gives_every_process_the_images_of_the_reference(images: int, reference: int, processes: int):
    plan = planned(LINEAR, batch=images * reference, reference=reference, processes=processes)

    batch = keys(images * reference, reference).with_(plan.adjustments)["SOLVER.IMS_PER_BATCH"]
    assert (batch, plan.accumulate) == (images * processes, 1)


@pytest.mark.parametrize(("reference", "processes"), [(0, 4), (2, 2), (8, 1), (8, 16), (2, 3)])
def test_scaling_is_what_detectron2_would_do_in_the_worker(reference: int, processes: int):
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultTrainer

    cfg = get_cfg()
    settings = ["SOLVER.REFERENCE_WORLD_SIZE", reference, "SOLVER.IMS_PER_BATCH", 16, "SOLVER.STEPS", (60, 80)]
    cfg.merge_from_list([*settings, "SOLVER.MAX_ITER", 90, "SOLVER.BASE_LR", 0.02, "TEST.EVAL_PERIOD", 33])
    keys = Keys({"SOLVER": {**cfg.SOLVER, "STEPS": list(cfg.SOLVER.STEPS)}, "TEST": dict(cfg.TEST)})

    ours = keys.with_(scale_to(processes, keys))

    theirs = DefaultTrainer.auto_scale_workers(cfg, processes)
    assert ours["SOLVER"] == {**theirs.SOLVER, "STEPS": list(theirs.SOLVER.STEPS)}
    assert ours["TEST.EVAL_PERIOD"] == theirs.TEST.EVAL_PERIOD
