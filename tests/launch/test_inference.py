from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.config.adjustment import Adjustment
from launcher.config.request import DeviceRequest, EmaSettings, Precision, RunRequest, RunSettings
from launcher.config.task import EvaluateRequest, PredictRequest
from launcher.errors import DataError, RequestError
from launcher.files import write_text
from launcher.launch.attempts import launch
from launcher.launch.inference import for_inference
from launcher.run import codes
from launcher.run.heartbeat import PREDICTION, TRAINING
from launcher.run.identity import run_folder
from launcher.run.journal import Journal, stamp_of
from launcher.run.plan import Continue, Evaluate, Finished, New, Predict, RunPlan
from tests.device.recorded import TWO_GPUS
from tests.launch.conducted import KEYS, World
from tests.values import TYPED, a_request, failed_with, finished_after

DONE = finished_after(2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("photos/a.jpg", "photos/b.jpg", "weights.pth"):
        write_text(tmp_path / name, name)
    return tmp_path / "photos"


def prediction(photos: Path, *, out: str = "", device: DeviceRequest | None = None, **settings: Any) -> RunRequest:
    task = PredictRequest(
        run="", checkpoint="", out=out, inputs=(str(photos),), threshold=0.5, draw=True, images_json=""
    )
    keys = {**KEYS, "MODEL": {"DEVICE": "cuda", "WEIGHTS": str(photos.parent / "weights.pth")}}
    return a_request(
        keys,
        typed=replace(TYPED, task=task),
        run=RunSettings(root=str(photos.parent / "outputs"), provenance=False),
        device=device or DeviceRequest(),
        **settings,
    )


def keeping(*files: Path) -> Callable[[RunPlan], None]:
    """What an attempt leaves that has done these images."""

    def keep(plan: RunPlan) -> None:
        with Journal(plan.paths.results, attempt=plan.attempt, rank=0) as journal:
            for file in files:
                journal.add(stamp_of(file), {})

    return keep


def test_a_prediction_is_a_run_of_its_own_in_a_folder_of_its_own(photos: Path):
    world = World(ends=(DONE,))

    plan = launch(prediction(photos), world.session()).plan

    assert isinstance(plan.task, Predict)
    assert plan.task.files == (str(photos / "a.jpg"), str(photos / "b.jpg"))
    assert plan.paths.folder.parent == photos.parent / "outputs/predictions"
    assert plan.paths.folder.name.startswith("photos-")
    assert not plan.paths.checkpoints.exists()
    assert json.loads(plan.attempt_paths.plan.read_text())["task"]["threshold"] == 0.5


def test_the_same_prediction_again_has_nothing_to_do(photos: Path):
    first = World(ends=(DONE,), meanwhile=keeping(photos / "a.jpg", photos / "b.jpg"))
    launch(prediction(photos), first.session())
    world = World()

    ended = launch(prediction(photos), world.session())

    assert isinstance(ended.plan.start, Finished)
    assert world.carried_out == []
    assert "start: nothing to do, 2 images are done. resume=never starts over." in world.text


def test_results_of_an_image_that_is_gone_are_written_anew_without_it(photos: Path):
    launch(prediction(photos), World(ends=(DONE,), meanwhile=keeping(photos / "a.jpg", photos / "b.jpg")).session())
    (photos / "b.jpg").unlink()
    world = World(ends=(DONE,))

    plan = launch(prediction(photos), world.session()).plan

    assert plan.start == Continue(done=1)
    assert len(world.carried_out) == 1


def test_other_image_ids_under_the_same_name_start_over(photos: Path):
    ids = photos.parent / "ids.json"

    def asked() -> RunRequest:
        request = prediction(photos, out=str(photos.parent / "found"))
        return replace(request, typed=replace(request.typed, task=replace(request.task, images_json=str(ids))))

    write_text(ids, "some")
    launch(asked(), World(ends=(DONE,), meanwhile=keeping(photos / "a.jpg", photos / "b.jpg")).session())
    write_text(ids, "others")
    world = World(ends=(DONE,))

    plan = launch(asked(), world.session()).plan

    assert plan.start == New(archives=True)
    assert "the annotations are other ones" in world.text


@pytest.mark.parametrize("change", ["a new image", "a changed image"])
def test_only_what_is_not_done_is_left_for_the_next_start(photos: Path, change: str):
    launch(prediction(photos), World(ends=(DONE,), meanwhile=keeping(photos / "a.jpg", photos / "b.jpg")).session())
    write_text(photos / ("c.jpg" if change == "a new image" else "b.jpg"), "another one")
    world = World(ends=(DONE,))

    plan = launch(prediction(photos), world.session()).plan

    assert plan.start == Continue(done=2 if change == "a new image" else 1)
    assert len(world.carried_out) == 1


def test_other_weights_under_the_same_name_start_over_and_keep_the_old_results(photos: Path):
    first = launch(prediction(photos), World(ends=(DONE,), meanwhile=keeping(photos / "a.jpg")).session()).plan
    write_text(photos.parent / "weights.pth", "trained for longer")
    world = World(ends=(DONE,))

    plan = launch(prediction(photos), world.session()).plan

    assert plan.start == New(archives=True)
    assert plan.folder == first.folder
    assert (Path(first.folder + ".1") / "results").is_dir()
    assert "the weights are other ones" in world.text


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_a_folder_of_other_files_is_refused_and_stays_as_it_is(photos: Path, tmp_path: Path, resume: str):
    out = tmp_path / "mine"
    write_text(out / "thesis.tex", "words")

    with pytest.raises(RequestError, match=r"mine holds files that are not of.*thesis\.tex.*--out DIR"):
        launch(prediction(photos, out=str(out), resume=resume), World().session())

    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_a_folder_of_another_prediction_is_refused_with_what_differs(photos: Path, tmp_path: Path):
    out = str(tmp_path / "out")
    launch(prediction(photos, out=out), World(ends=(DONE,)).session())
    request = prediction(photos, out=out)
    task = replace(request.task, threshold=0.9)  # type: ignore[type-var]

    with pytest.raises(RequestError, match=r"another request: threshold \(0\.5 then, 0\.9 now\).*resume=never"):
        launch(replace(request, typed=replace(request.typed, task=task)), World().session())


def test_starting_over_renames_the_results_before(photos: Path, tmp_path: Path):
    out = str(tmp_path / "out")
    launch(prediction(photos, out=out), World(ends=(DONE,)).session())

    plan = launch(prediction(photos, out=out, resume="never"), World(ends=(DONE,)).session()).plan

    assert plan.start == New(archives=True)
    assert (tmp_path / "out.1/attempts/1").is_dir()


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_a_training_run_is_no_folder_for_predictions(photos: Path, tmp_path: Path, resume: str):
    training = launch(
        a_request(KEYS, run=RunSettings(root=str(tmp_path), name="run", provenance=False)),
        World(ends=(finished_after(100),)).session(),
    ).plan

    with pytest.raises(RequestError, match="belongs to a training run"):
        launch(prediction(photos, out=training.folder, resume=resume), World().session())


def test_a_prediction_without_images_is_refused(tmp_path: Path):
    request = prediction(tmp_path / "nowhere", out=str(tmp_path / "out"))

    with pytest.raises(DataError, match="nowhere: there is no such file or folder"):
        launch(request, World().session())


def test_a_batch_that_is_too_large_for_the_memory_is_halved(photos: Path):
    request = prediction(photos, device=DeviceRequest(micro_batch=8))
    world = World(ends=(failed_with(codes.OUT_OF_MEMORY, exit_code=76, stage=PREDICTION), DONE))

    launch(request, world.session())

    assert [plan.micro_batch for plan in world.carried_out] == [8, 4]
    assert "with a micro-batch of 8; retrying with 4" in world.text
    assert "effective" not in world.text


def test_only_where_the_model_gets_its_images_is_a_smaller_batch_worth_a_try(photos: Path):
    request = prediction(photos, device=DeviceRequest(micro_batch=8))
    world = World(ends=(failed_with(codes.OUT_OF_MEMORY, exit_code=76, stage=TRAINING),))

    launch(request, world.session())

    assert len(world.carried_out) == 1


def test_an_attempt_that_has_done_images_makes_up_for_the_retries_before(photos: Path):
    crash = failed_with(codes.CRASH)
    request = prediction(photos)
    request = replace(request, run=replace(request.run, retries=1))
    ends = (crash, crash, DONE)
    world = World(ends=ends)
    world.meanwhile = lambda plan: keeping(photos / f"{'ab'[plan.attempt - 1]}.jpg")(plan) if plan.attempt < 3 else None

    launch(request, world.session())

    assert [plan.first_iteration for plan in world.carried_out] == [0, 1, 2]


def test_any_number_of_processes_shares_the_images(photos: Path):
    request = prediction(photos, device=DeviceRequest(count=2))
    alone = Adjustment(setting="SOLVER.IMS_PER_BATCH", asked=2, planned=1, reason="")

    plan = launch(
        replace(request, keys=request.keys.with_([alone])), World(facts=(TWO_GPUS,), ends=(DONE,)).session()
    ).plan

    assert plan.devices.num_processes == 2


def test_a_model_that_was_trained_in_mixed_precision_is_used_in_full_unless_asked(photos: Path):
    keys = {**KEYS, "SOLVER": {**KEYS["SOLVER"], "AMP": {"ENABLED": True}}}
    request = replace(prediction(photos), keys=a_request(keys).keys)
    asked = replace(request, device=DeviceRequest(precision=Precision.bfloat16))

    assert for_inference(request).keys["SOLVER.AMP.ENABLED"] is False
    assert for_inference(asked).keys["SOLVER.AMP.ENABLED"] is True


def test_averaged_weights_are_meant_where_the_run_averaged(photos: Path):
    request = prediction(photos, ema=EmaSettings(decay=0.9))

    plan = launch(request, World(ends=(DONE,)).session()).plan

    assert isinstance(plan.task, Predict)
    assert plan.task.model.averaged


def test_an_evaluation_lies_beside_its_run(photos: Path):
    task = EvaluateRequest(run=str(photos.parent / "outputs/demo/first"), checkpoint="best", out="")
    asked = prediction(photos)
    keys = asked.keys.with_([Adjustment(setting="DATASETS.TEST", asked=[], planned=["some_val"], reason="")])
    request = replace(asked, typed=replace(TYPED, task=task), keys=keys)

    folder = run_folder(request)
    plan = launch(request, World(ends=(DONE,)).session()).plan

    assert folder.parent == photos.parent / "outputs/demo/first/evaluations"
    assert folder.name.startswith("best-")
    assert isinstance(plan.task, Evaluate)
