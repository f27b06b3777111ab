from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.config.adjustment import Adjustment
from launcher.config.request import (
    DatasetRequest,
    DeviceRequest,
    EarlyStoppingSettings,
    EmaSettings,
    LoggingSettings,
    RunRequest,
    RunSettings,
)
from launcher.config.values import from_plain, to_plain
from launcher.data.plan import CocoSplit, DatasetPlan
from launcher.device.policy.plan import DevicePlan
from launcher.errors import RequestError
from launcher.launch.decide import make_run_plan
from launcher.run.changed import Effect
from launcher.run.folder import FolderFacts
from launcher.run.identity import identity_of
from launcher.run.outcome import EarlyStop, Ending, Outcome
from launcher.run.plan import Lessons, RunPlan
from launcher.run.resume import Checkpoints, DamagedCheckpoint, ResumePoint

WHERE = Path("/runs/coco/default")
REQUEST = RunRequest(
    experiment="coco",
    overrides=(),
    in_sweep=False,
    device=DeviceRequest(),
    dataset=DatasetRequest(),
    run=RunSettings(),
    resume="auto",
    logging=LoggingSettings(),
    config_extensions=(),
    detectron2={
        "OUTPUT_DIR": "./output",
        "SEED": 1,
        "MODEL": {"DEVICE": "cuda", "WEIGHTS": "there.pkl"},
        "SOLVER": {"MAX_ITER": 100, "IMS_PER_BATCH": 2, "AMP": {"ENABLED": True}, "REFERENCE_WORLD_SIZE": 0},
    },
)
DEVICES = DevicePlan(
    kind="cpu",
    asked="auto",
    reason="no NVIDIA GPU in this machine",
    gpu_uuids=(),
    num_processes=1,
    environment={"CUDA_VISIBLE_DEVICES": ""},
    mask_driver=False,
    adjustments=(
        Adjustment(setting="MODEL.DEVICE", asked="cuda", planned="cpu", reason="r"),
        Adjustment(setting="SOLVER.AMP.ENABLED", asked=True, planned=False, reason="r"),
    ),
)
DATASET = DatasetPlan(
    splits=(CocoSplit(name="a_train", json="/a.json", images="/a"),),
    environment={"DETECTRON2_DATASETS": "/data"},
    adjustments=(),
    notices=("a notice",),
    num_train_images=3,
    class_names=("a",),
)
CHECKPOINT = ResumePoint(path="/runs/coco/default/checkpoints/model_0000009.pth", next_iteration=10)
DAMAGED = DamagedCheckpoint(path="/runs/coco/default/checkpoints/model_0000019.pth", problem="is empty")
NEW = FolderFacts(
    folder=str(WHERE),
    stored_identity=None,
    attempts=0,
    last_outcome=None,
    checkpoints=Checkpoints(newest_whole=None, damaged=()),
    resume_file=None,
    resume_file_problem="",
    weights_missing=False,
    unwritable="",
)
STARTED = dataclasses.replace(
    NEW,
    stored_identity=to_plain(identity_of(REQUEST)),
    attempts=2,
    checkpoints=Checkpoints(newest_whole=CHECKPOINT, damaged=()),
)


def plan_for(folder: FolderFacts, **changes: Any) -> RunPlan:
    request = dataclasses.replace(REQUEST, **changes)
    return make_run_plan(request, devices=DEVICES, dataset=DATASET, folder=folder)


def finished(iterations: int) -> Outcome:
    return Outcome(
        ending=Ending.finished,
        exit_code=0,
        iterations=iterations,
        metrics={},
        seconds=1.0,
        explanation="",
        traceback="",
    )


def test_a_new_run_starts_at_the_beginning_with_every_adjustment_in_its_keys():
    plan = plan_for(NEW)

    assert (plan.attempt, plan.resume, plan.already_finished) == (1, None, False)
    assert plan.detectron2["MODEL"]["DEVICE"] == "cpu"
    assert plan.detectron2["SOLVER"]["AMP"]["ENABLED"] is False
    assert plan.detectron2["OUTPUT_DIR"] == str(WHERE)
    assert REQUEST.detectron2["MODEL"]["DEVICE"] == "cuda"  # what was asked stays as asked


def test_the_same_command_continues_from_the_newest_whole_checkpoint():
    plan = plan_for(STARTED)

    assert (plan.attempt, plan.resume) == (3, CHECKPOINT)


def test_a_skipped_checkpoint_is_told():
    plan = plan_for(dataclasses.replace(STARTED, checkpoints=Checkpoints(newest_whole=CHECKPOINT, damaged=(DAMAGED,))))

    assert any("model_0000019.pth is empty" in notice for notice in plan.notices)


def test_a_finished_run_has_nothing_to_do():
    assert plan_for(dataclasses.replace(STARTED, last_outcome=finished(100))).already_finished
    assert not plan_for(dataclasses.replace(STARTED, last_outcome=finished(50))).already_finished
    assert not plan_for(dataclasses.replace(STARTED, last_outcome=finished(100)), resume="never").already_finished


def test_resume_never_starts_over_and_keeps_the_old_content_aside():
    plan = plan_for(STARTED, resume="never")

    assert (plan.attempt, plan.resume, plan.sets_aside) == (1, None, True)


def test_resume_from_a_file_gives_way_to_progress_of_the_run_itself():
    elsewhere = ResumePoint(path="/elsewhere/model.pth", next_iteration=None)

    assert plan_for(dataclasses.replace(NEW, resume_file=elsewhere), resume="/elsewhere/model.pth").resume == elsewhere
    assert (
        plan_for(dataclasses.replace(STARTED, resume_file=elsewhere), resume="/elsewhere/model.pth").resume
        == CHECKPOINT
    )


@pytest.mark.parametrize(
    ("folder", "changes", "message"),
    [
        (NEW, {"resume": "must"}, r"resume=must.*no whole checkpoint.*resume=auto"),
        (
            dataclasses.replace(NEW, checkpoints=Checkpoints(newest_whole=None, damaged=(DAMAGED,))),
            {},
            r"damaged \(model_0000019.pth\).*resume=never",
        ),
        (dataclasses.replace(NEW, resume_file_problem="there is no such file"), {"resume": "x.pth"}, r"resume=x.pth"),
        (dataclasses.replace(NEW, weights_missing=True), {}, r"MODEL.WEIGHTS=there.pkl.*no such file"),
        (dataclasses.replace(NEW, unwritable="/runs is a file"), {}, r"/runs is a file.*run.root"),
        (
            dataclasses.replace(STARTED, stored_identity={"SOLVER": {"IMS_PER_BATCH": 7}}),
            {},
            r"(?s)another configuration.*SOLVER.IMS_PER_BATCH: there 7, now 2.*run.name=NAME.*run.allow_changes",
        ),
        (NEW, {"logging": LoggingSettings(period=0)}, r"logging.period=0"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_way_out(folder: FolderFacts, changes: dict[str, Any], message: str):
    with pytest.raises(RequestError, match=message):
        plan_for(folder, **changes)


def test_several_problems_are_told_at_once():
    with pytest.raises(RequestError, match=r"(?s)resume=must.*MODEL.WEIGHTS"):
        plan_for(dataclasses.replace(NEW, weights_missing=True), resume="must")


def test_missing_weights_do_not_matter_to_a_run_that_continues():
    assert plan_for(dataclasses.replace(STARTED, weights_missing=True)).resume == CHECKPOINT


def test_another_number_of_classes_makes_another_run():
    """A category added to the file must not be found out by tensors that do not fit."""
    request = dataclasses.replace(REQUEST, detectron2={**REQUEST.detectron2, "CLASSES": 80})
    three = Adjustment(setting="CLASSES", asked=80, planned=3, reason="r")
    stored = dataclasses.replace(STARTED, stored_identity=to_plain(identity_of(request, [three])))
    four = dataclasses.replace(DATASET, adjustments=(dataclasses.replace(three, planned=4),))

    with pytest.raises(RequestError, match="CLASSES: there 3, now 4"):
        make_run_plan(request, devices=DEVICES, dataset=four, folder=stored)


def test_a_folder_whose_first_start_broke_off_can_be_started_over():
    assert plan_for(dataclasses.replace(NEW, attempts=1), resume="never").sets_aside


def test_a_plan_survives_its_way_through_a_file():
    plan = plan_for(STARTED)

    assert from_plain(RunPlan, to_plain(plan)) == plan


def test_without_a_seed_one_is_drawn_and_kept_until_the_run_starts_over():
    def seed_of(folder: FolderFacts, **changes: Any) -> Any:
        unseeded = dataclasses.replace(REQUEST, detectron2={**REQUEST.detectron2, "SEED": -1}, **changes)
        folder = dataclasses.replace(folder, drawn_seed=77)
        if folder.stored_identity is not None:
            folder = dataclasses.replace(folder, stored_identity=to_plain(identity_of(unseeded)))
        return make_run_plan(unseeded, devices=DEVICES, dataset=DATASET, folder=folder).detectron2["SEED"]

    started = dataclasses.replace(STARTED, seed=5)

    assert seed_of(NEW) == 77
    assert seed_of(started) == 5
    assert seed_of(started, resume="never") == 77


def test_what_changed_since_the_attempt_before_is_told_with_its_effect():
    solver = {**REQUEST.detectron2["SOLVER"], "MAX_ITER": 200}
    longer = dataclasses.replace(REQUEST, detectron2={**REQUEST.detectron2, "SOLVER": solver})

    plan = make_run_plan(longer, devices=DEVICES, dataset=DATASET, folder=STARTED)

    assert [(one.setting, one.before, one.now, one.effect) for one in plan.changed] == [
        ("SOLVER.MAX_ITER", 100, 200, Effect.applies)
    ]


def test_another_number_of_processes_or_another_precision_is_told():
    before = dataclasses.replace(STARTED, num_processes=4, precision="float16")

    notices = make_run_plan(REQUEST, devices=DEVICES, dataset=DATASET, folder=before).notices

    assert any("4 processes before, 1 now" in notice for notice in notices)
    assert any("float16 before, in full precision now" in notice for notice in notices)


def test_lessons_of_earlier_commands_hold_unless_a_number_is_typed():
    learned = dataclasses.replace(STARTED, lessons=Lessons(micro_batch=1, num_workers=1))
    typed = dataclasses.replace(REQUEST, device=DeviceRequest(micro_batch=2))
    loader = {**REQUEST.detectron2, "DATALOADER": {"NUM_WORKERS": 4}}

    remembered = make_run_plan(
        dataclasses.replace(REQUEST, detectron2=loader), devices=DEVICES, dataset=DATASET, folder=learned
    )
    tried_again = make_run_plan(
        dataclasses.replace(typed, detectron2=loader), devices=DEVICES, dataset=DATASET, folder=learned
    )

    assert (remembered.accumulate, tried_again.accumulate) == (2, 1)
    assert remembered.detectron2["DATALOADER"]["NUM_WORKERS"] == 1


def test_a_time_limit_or_the_jobs_end_gives_the_time_to_stop():
    limited = dataclasses.replace(REQUEST, run=RunSettings(time_limit="1:00:00"))

    by_limit = make_run_plan(limited, devices=DEVICES, dataset=DATASET, folder=NEW, began=1000.0)
    by_job = make_run_plan(REQUEST, devices=DEVICES, dataset=DATASET, folder=NEW, began=1000.0, job_ends=2000.0)

    assert by_limit.stop_at == 4600 - 120
    assert by_job.stop_at == 2000 - 100


AP = EarlyStoppingSettings(metric="bbox/AP", patience=5)
STOPPED_EARLY = dataclasses.replace(finished(40), stopped_early=EarlyStop(asked=AP, best=41.2, evaluations=5))
EVALUATED = {
    **REQUEST.detectron2,
    "DATASETS": {"TEST": ["a_val"]},
    "TEST": {"EVAL_PERIOD": 10},
}


@pytest.mark.parametrize(
    ("asked", "nothing_to_do"),
    [
        (AP, True),
        (dataclasses.replace(AP, patience=3), True),
        (dataclasses.replace(AP, patience=6), False),
        (dataclasses.replace(AP, min_delta=1.0), False),
        (dataclasses.replace(AP, metric="segm/AP"), False),
        (EarlyStoppingSettings(), False),
    ],
)
def test_a_run_that_stopped_early_goes_on_when_it_would_not_stop_any_more(
    asked: EarlyStoppingSettings, nothing_to_do: bool
):
    folder = dataclasses.replace(STARTED, last_outcome=STOPPED_EARLY)

    plan = plan_for(folder, early_stopping=asked, detectron2=EVALUATED)

    assert plan.already_finished is nothing_to_do
    assert plan.stopped_early == STOPPED_EARLY.stopped_early
    assert plan.early_stopping == asked


def test_early_stopping_without_evaluations_on_the_way_and_impossible_numbers_are_refused_at_once():
    wrong = EarlyStoppingSettings(metric="bbox/AP", patience=0, min_delta=-1.0)
    keys = {**EVALUATED, "DATASETS": {"TEST": []}, "TEST": {"EVAL_PERIOD": 0}}

    with pytest.raises(RequestError) as refused:
        plan_for(NEW, early_stopping=wrong, ema=EmaSettings(decay=1.0), detectron2=keys)

    for what in (r"ema.decay=1.0", "patience=0", "min_delta=-1.0", "DATASETS.TEST=[NAME]", "TEST.EVAL_PERIOD=ITER"):
        assert what in str(refused.value)


def test_other_annotations_under_the_same_name_are_refused_unless_insisted_on():
    before = dataclasses.replace(STARTED, train_checksum=1)
    other = dataclasses.replace(DATASET, train_checksum=2)
    insisting = dataclasses.replace(REQUEST, run=RunSettings(allow_changes=["dataset.train.json"]))

    with pytest.raises(RequestError, match=r"dataset\.train\.json has another content"):
        make_run_plan(REQUEST, devices=DEVICES, dataset=other, folder=before)
    assert make_run_plan(insisting, devices=DEVICES, dataset=other, folder=before).may_reorder
    unread = dataclasses.replace(DATASET, train_checksum=0)
    assert not make_run_plan(REQUEST, devices=DEVICES, dataset=unread, folder=before).may_reorder


def test_another_runs_checkpoint_may_be_of_another_order_of_samples():
    from_file = dataclasses.replace(NEW, resume_file=CHECKPOINT)

    assert make_run_plan(REQUEST, devices=DEVICES, dataset=DATASET, folder=from_file).may_reorder
    assert not make_run_plan(REQUEST, devices=DEVICES, dataset=DATASET, folder=STARTED).may_reorder
