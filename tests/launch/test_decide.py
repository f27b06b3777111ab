from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.config.adjustment import Adjustment
from launcher.config.request import DeviceRequest, EarlyStoppingSettings, RunSettings
from launcher.config.values import from_plain, to_plain
from launcher.data.plan import CocoSplit
from launcher.errors import RequestError
from launcher.launch.decide import make_run_plan
from launcher.run.changed import Effect
from launcher.run.folder import FolderFacts, Previous
from launcher.run.identity import fingerprint_of, identity_of
from launcher.run.manifest import Manifest, Milestone
from launcher.run.outcome import EarlyStop, Ending
from launcher.run.plan import Finished, Lessons, New, Resume, RunPlan
from launcher.run.resume import Checkpoints, DamagedCheckpoint, ResumePoint
from tests.values import CPU, NO_DATA, TYPED, a_request, changed_keys, finished_after

WHERE = Path("/runs/coco/default")
REQUEST = a_request(
    {
        "OUTPUT_DIR": "./output",
        "SEED": 1,
        "MODEL": {"DEVICE": "cuda", "WEIGHTS": "there.pkl"},
        "SOLVER": {"MAX_ITER": 100, "IMS_PER_BATCH": 2, "AMP": {"ENABLED": True}, "REFERENCE_WORLD_SIZE": 0},
        "DATALOADER": {"NUM_WORKERS": 4},
        "DATASETS": {"TEST": []},
        "TEST": {"EVAL_PERIOD": 0},
        "CLASSES": 80,
    },
    typed=dataclasses.replace(TYPED, experiment="coco"),
)
DEVICES = dataclasses.replace(
    CPU,
    adjustments=(
        Adjustment(setting="MODEL.DEVICE", asked="cuda", planned="cpu", reason="r"),
        Adjustment(setting="SOLVER.AMP.ENABLED", asked=True, planned=False, reason="r"),
    ),
)
DATASET = dataclasses.replace(
    NO_DATA,
    splits=(CocoSplit(name="a_train", json="/a.json", images="/a"),),
    environment={"DETECTRON2_DATASETS": "/data"},
    notices=("a notice",),
)
CHECKPOINT = ResumePoint(path="/runs/coco/default/checkpoints/model_0000009.pth", next_iteration=10)
PAST_THE_END = ResumePoint(path="/runs/coco/default/checkpoints/model_0000100.pth", next_iteration=101)
DAMAGED = DamagedCheckpoint(path="/runs/coco/default/checkpoints/model_0000019.pth", problem="is empty")
BEFORE = Previous(
    identity=to_plain(identity_of(REQUEST)),
    seed=1,
    begun_with=1,
    num_processes=1,
    kind="cpu",
    precision="",
    train_checksum=0,
    val_checksum=0,
    lessons=Lessons(),
)
NEW = FolderFacts(
    folder=str(WHERE),
    attempts=0,
    previous=None,
    fingerprints=frozenset(),
    last_outcome=None,
    checkpoints=Checkpoints(newest_valid=None, damaged=()),
    resume_file=None,
    resume_file_problem="",
    drawn_seed=0,
    weights_missing=False,
    foreign=(),
    unwritable="",
)
STARTED = dataclasses.replace(
    NEW, previous=BEFORE, attempts=2, checkpoints=Checkpoints(newest_valid=CHECKPOINT, damaged=())
)


def started_with(**previous: Any) -> FolderFacts:
    return dataclasses.replace(STARTED, previous=dataclasses.replace(BEFORE, **previous))


def plan_for(folder: FolderFacts, **changes: Any) -> RunPlan:
    request = dataclasses.replace(REQUEST, **changes)
    return make_run_plan(request, devices=DEVICES, dataset=DATASET, folder=folder)


def test_a_new_run_starts_at_the_beginning_with_every_adjustment_in_its_keys():
    plan = plan_for(NEW)

    assert (plan.attempt, plan.start) == (1, New(archives=False))
    assert plan.keys["MODEL.DEVICE"] == "cpu"
    assert plan.keys["SOLVER.AMP.ENABLED"] is False
    assert plan.keys["OUTPUT_DIR"] == str(WHERE)
    assert REQUEST.keys["MODEL.DEVICE"] == "cuda"  # what was asked stays as asked


def test_the_same_command_resumes_from_the_newest_valid_checkpoint():
    plan = plan_for(STARTED)

    assert (plan.attempt, plan.start) == (3, Resume(point=CHECKPOINT, damaged=(), may_reorder=False))


def test_a_skipped_checkpoint_is_reported():
    plan = plan_for(dataclasses.replace(STARTED, checkpoints=Checkpoints(newest_valid=CHECKPOINT, damaged=(DAMAGED,))))

    skipped = "model_0000019.pth is empty: skipped, the run resumes from model_0000009.pth, the next older one"
    assert skipped in plan.report.notices


@pytest.mark.parametrize(
    ("written_with", "others", "is_refused"),
    [
        ("", (), False),
        (fingerprint_of(to_plain(identity_of(REQUEST))), (), False),
        ("of attempt 1", ("of attempt 1", "of attempt 2"), False),
        ("of another run", ("of attempt 1",), True),
    ],
)
def test_a_checkpoint_that_a_run_of_another_configuration_wrote_is_not_continued(
    written_with: str, others: tuple[str, ...], is_refused: bool
):
    milestone = Milestone(iteration=9, config_fingerprint=written_with)
    point = dataclasses.replace(CHECKPOINT, manifest=Manifest(milestone=milestone, size=1, crc32=1))
    holds = Checkpoints(newest_valid=point, damaged=())
    folder = dataclasses.replace(STARTED, checkpoints=holds, fingerprints=frozenset(others))

    refusing = pytest.raises(RequestError, match=r"model_0000009\.pth was written by a run of another configuration.*")
    with refusing if is_refused else contextlib.nullcontext():
        plan_for(folder)

    assert plan_for(folder, resume="never").start == New(archives=True)


def test_a_finished_run_has_nothing_to_do():
    done, half_way = (dataclasses.replace(STARTED, last_outcome=finished_after(number)) for number in (100, 50))

    assert plan_for(done).start == Finished(stopped_early=None)
    assert isinstance(plan_for(half_way).start, Resume)
    assert plan_for(done, resume="never").start == New(archives=True)


def test_a_pruned_run_has_nothing_to_do_until_somebody_insists():
    outcome = dataclasses.replace(finished_after(50), ending=Ending.pruned, explanation="bbox/AP of 3")
    pruned = dataclasses.replace(STARTED, last_outcome=outcome)

    assert plan_for(pruned).start == Finished(stopped_early=None, pruned="bbox/AP of 3")
    assert isinstance(plan_for(pruned, resume="must").start, Resume)
    assert plan_for(pruned, resume="never").start == New(archives=True)


def test_resume_never_starts_over_and_archives_the_old_content():
    plan = plan_for(STARTED, resume="never")

    assert (plan.attempt, plan.start) == (1, New(archives=True))


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
        (NEW, {"resume": "must"}, r"resume=must.*no valid checkpoint.*resume=auto"),
        (
            dataclasses.replace(NEW, checkpoints=Checkpoints(newest_valid=None, damaged=(DAMAGED,))),
            {},
            r"damaged \(model_0000019.pth\).*resume=never",
        ),
        (dataclasses.replace(NEW, resume_file_problem="there is no such file"), {"resume": "x.pth"}, r"resume=x.pth"),
        (dataclasses.replace(NEW, weights_missing=True), {}, r"MODEL.WEIGHTS=there.pkl.*no such file"),
        (dataclasses.replace(NEW, unwritable="/runs is a file"), {}, r"/runs is a file.*run.root"),
        (
            started_with(identity={"SOLVER": {"IMS_PER_BATCH": 7}}),
            {},
            r"(?s)another configuration.*SOLVER.IMS_PER_BATCH: there 7, now 2.*run.name=NAME.*run.allow_changes",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_way_out(folder: FolderFacts, changes: dict[str, Any], message: str):
    with pytest.raises(RequestError, match=message):
        plan_for(folder, **changes)


def test_several_problems_are_reported_at_once():
    with pytest.raises(RequestError, match=r"(?s)resume=must.*MODEL.WEIGHTS"):
        plan_for(dataclasses.replace(NEW, weights_missing=True), resume="must")


def test_fewer_iterations_than_are_done_are_refused_with_the_way_out():
    with pytest.raises(
        RequestError,
        match=r"SOLVER\.MAX_ITER=100, but 101 .*: launcher resume /runs/coco/default SOLVER\.MAX_ITER=101;",
    ):
        plan_for(dataclasses.replace(STARTED, checkpoints=Checkpoints(newest_valid=PAST_THE_END, damaged=())))


def test_a_training_that_somebody_else_started_is_not_overwritten_and_can_be_used():
    theirs = dataclasses.replace(NEW, foreign=("metrics.json", "last_checkpoint", "model_0000002.pth"))

    with pytest.raises(RequestError) as refused:
        plan_for(theirs)
    assert f"MODEL.WEIGHTS={WHERE}/model_0000002.pth" in str(refused.value)
    assert f"resume={WHERE}/model_0000002.pth" in str(refused.value)
    assert plan_for(theirs, resume="never").start == New(archives=True)


def test_missing_weights_do_not_matter_to_a_run_that_continues():
    assert plan_for(dataclasses.replace(STARTED, weights_missing=True)).resume == CHECKPOINT


def test_another_number_of_classes_makes_another_run():
    """A category added to the file must not be found out by tensors that do not fit."""
    three = Adjustment(setting="CLASSES", asked=80, planned=3, reason="r")
    stored = started_with(identity=to_plain(identity_of(REQUEST, [three])))
    four = dataclasses.replace(DATASET, adjustments=(dataclasses.replace(three, planned=4),))

    with pytest.raises(RequestError, match="CLASSES: there 3, now 4"):
        make_run_plan(REQUEST, devices=DEVICES, dataset=four, folder=stored)


def test_a_folder_whose_first_start_broke_off_can_be_started_over():
    assert plan_for(dataclasses.replace(NEW, attempts=1), resume="never").start == New(archives=True)


def test_a_plan_survives_its_way_through_a_file():
    plan = plan_for(STARTED)

    assert from_plain(RunPlan, to_plain(plan)) == plan


def test_without_a_seed_one_is_drawn_and_kept_until_the_run_starts_over():
    def seed_of(folder: FolderFacts, **changes: Any) -> Any:
        folder = dataclasses.replace(folder, drawn_seed=77)
        return plan_for(folder, keys=unseeded, **changes).keys["SEED"]

    unseeded = changed_keys(REQUEST.keys, SEED=-1)
    identity = to_plain(identity_of(dataclasses.replace(REQUEST, keys=unseeded)))
    started = started_with(seed=5, identity=identity)

    assert seed_of(NEW) == 77
    assert seed_of(started) == 5
    assert seed_of(started, resume="never") == 77


def test_what_changed_since_the_previous_attempt_is_reported_with_its_effect():
    plan = plan_for(STARTED, keys=changed_keys(REQUEST.keys, SOLVER__MAX_ITER=200))

    assert [(one.setting, one.before, one.now, one.effect) for one in plan.report.changed] == [
        ("SOLVER.MAX_ITER", 100, 200, Effect.applies)
    ]


def test_another_number_of_processes_or_another_precision_is_reported():
    notices = plan_for(started_with(num_processes=4, precision="float16")).report.notices

    assert any("4 processes before, 1 now" in notice for notice in notices)
    assert any("float16 before, in full precision now" in notice for notice in notices)


def test_lessons_of_earlier_commands_hold_unless_a_number_is_typed():
    learned = started_with(lessons=Lessons(micro_batch=1, num_workers=1))

    remembered = plan_for(learned)
    tried_again = plan_for(learned, device=DeviceRequest(micro_batch=2))
    started_over = plan_for(learned, resume="never")

    assert (remembered.task.accumulate, tried_again.task.accumulate) == (2, 1)
    assert started_over.task.accumulate == 2
    assert remembered.keys["DATALOADER.NUM_WORKERS"] == 1


def test_a_time_limit_or_the_jobs_end_gives_the_time_to_stop():
    limited = dataclasses.replace(REQUEST, run=RunSettings(time_limit="1:00:00"))

    by_limit = make_run_plan(limited, devices=DEVICES, dataset=DATASET, folder=NEW, began=1000.0)
    by_job = make_run_plan(REQUEST, devices=DEVICES, dataset=DATASET, folder=NEW, began=1000.0, job_ends=2000.0)

    assert by_limit.limits.stop_at == 4600 - 120
    assert by_job.limits.stop_at == 2000 - 100


AP = EarlyStoppingSettings(metric="bbox/AP", patience=5)
STOP = EarlyStop(asked=AP, best=41.2, evaluations=5)
STOPPED_EARLY = finished_after(40, stopped_early=STOP)
EVALUATED = changed_keys(REQUEST.keys, DATASETS__TEST=["a_val"], TEST__EVAL_PERIOD=10)


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
def test_a_run_that_stopped_early_resumes_when_it_would_not_stop_any_more(
    asked: EarlyStoppingSettings, nothing_to_do: bool
):
    folder = dataclasses.replace(STARTED, last_outcome=STOPPED_EARLY)

    plan = plan_for(folder, early_stopping=asked, keys=EVALUATED)

    assert (plan.start == Finished(stopped_early=STOP)) is nothing_to_do
    assert isinstance(plan.start, Finished) is nothing_to_do
    assert plan.task.early_stopping == asked


def test_other_annotations_under_the_same_name_are_refused_unless_insisted_on():
    before = started_with(train_checksum=1)
    other = dataclasses.replace(DATASET, train_checksum=2)
    insisting = dataclasses.replace(REQUEST, run=RunSettings(allow_changes=["dataset.train.json"]))

    with pytest.raises(RequestError, match=r"the content of dataset\.train\.json has changed"):
        make_run_plan(REQUEST, devices=DEVICES, dataset=other, folder=before)
    assert make_run_plan(insisting, devices=DEVICES, dataset=other, folder=before).start.may_reorder
    unread = dataclasses.replace(DATASET, train_checksum=0)
    assert not make_run_plan(REQUEST, devices=DEVICES, dataset=unread, folder=before).start.may_reorder


def test_validation_annotations_with_other_content_are_a_change_from_here_on():
    before = started_with(val_checksum=1)
    other = dataclasses.replace(DATASET, val_checksum=2)

    plan = make_run_plan(REQUEST, devices=DEVICES, dataset=other, folder=before)

    assert [(one.setting, one.effect) for one in plan.report.changed] == [("dataset.val.json", Effect.applies)]
    for same_or_unread in (1, 0):
        dataset = dataclasses.replace(DATASET, val_checksum=same_or_unread)
        assert make_run_plan(REQUEST, devices=DEVICES, dataset=dataset, folder=before).report.changed == ()


def test_another_runs_checkpoint_may_be_of_another_order_of_samples():
    from_file = dataclasses.replace(NEW, resume_file=CHECKPOINT)

    assert make_run_plan(REQUEST, devices=DEVICES, dataset=DATASET, folder=from_file).start.may_reorder
    assert not make_run_plan(REQUEST, devices=DEVICES, dataset=DATASET, folder=STARTED).start.may_reorder
