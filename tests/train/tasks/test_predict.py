"""Predictions in this process, with a small model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.engine import DefaultPredictor
from PIL import Image
from pycocotools.coco import COCO

from launcher.config.keys import Keys
from launcher.config.request import OwnCode
from launcher.errors import DataError, RequestError
from launcher.run import codes
from launcher.run.heartbeat import Heartbeat, read_beat
from launcher.run.journal import entries_in, keys_in
from launcher.run.outcome import WorkerResult
from launcher.run.plan import Model, Predict, RunPlan
from launcher.train.stop import STOP
from launcher.train.tasks.predict import perform
from tests.train.prediction.models import draw_weights, photo, small_cfg
from tests.train.prediction.test_inputs import Inverted, inverted
from tests.values import a_plan

MODEL = Model(averaged=False, batch=1, classes="", annotations="")
PHOTOS = ("0001.png", "0002.png", "0003.png")
Planned = Callable[..., RunPlan]


def as_keys(cfg: Any) -> dict[str, Any]:
    """A configuration as a plan has it."""
    plain: dict[str, Any] = json.loads(json.dumps(cfg))
    return plain


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Plans for three photographs, but for what is said otherwise."""
    for number in (1, 2, 3):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(photo(seed=number)).save(tmp_path / f"photos/{number:04}.png")

    def plan(kind: str = "box", *, names: tuple[str, ...] = PHOTOS, **task: Any) -> RunPlan:
        cfg = small_cfg(kind)
        draw_weights(cfg, tmp_path / f"{kind}.pth")
        cfg.SEED, cfg.DATALOADER.NUM_WORKERS = 0, 0
        files = tuple(str(tmp_path / "photos" / name) for name in names)
        settings = {"model": MODEL, "files": files, "threshold": 0.5, "draw": False, "images_json": "", **task}
        made = a_plan(as_keys(cfg), folder=str(tmp_path / "out"), task=Predict(**settings))
        made.attempt_paths.folder.mkdir(parents=True, exist_ok=True)
        return made

    return plan


def work(plan: RunPlan) -> WorkerResult:
    return perform(plan, 0, Heartbeat(plan.attempt_paths.heartbeat))


def results_of(plan: RunPlan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((plan.paths.folder / "predictions.json").read_text())
    return found


def test_everything_that_is_found_is_written_as_coco_writes_results(planned: Planned):
    plan = planned("mask")

    result = work(plan)

    found = results_of(plan)
    assert (result.finished, result.code, result.work.iterations) == (True, codes.NONE, 3)
    assert {one["image_id"] for one in found} == {1, 2, 3}
    assert all({"bbox", "category_id", "score", "segmentation"} <= one.keys() for one in found)
    assert {one["category_id"] for one in found} <= set(range(1, 91))
    coco = COCO()
    coco.dataset = {"images": [{"id": number} for number in (1, 2, 3)], "annotations": [], "categories": []}
    coco.createIndex()
    assert (
        len(coco.loadRes(found).anns)
        == len(found)
        == result.work.metrics["predict/objects"] + sum(one["score"] < 0.5 for one in found)
    )


def test_what_is_written_is_what_detectron2s_predictor_finds(planned: Planned):
    plan = planned("box", names=("0001.png",))
    work(plan)
    cfg = small_cfg("box")
    cfg.MODEL.WEIGHTS = plan.keys["MODEL.WEIGHTS"]

    expected = DefaultPredictor(cfg)(photo(seed=1)[:, :, ::-1])["instances"]

    assert [one["score"] for one in results_of(plan)] == expected.scores.tolist()


def test_a_trainers_own_mapper_makes_the_inputs_as_it_does_for_an_evaluation(planned: Planned):
    plan = planned("box", names=("0001.png",))
    cfg = small_cfg("box")
    cfg.MODEL.WEIGHTS = plan.keys["MODEL.WEIGHTS"]

    work(replace(plan, own_code=OwnCode(trainer=f"{Inverted.__module__}:Inverted")))

    record = {"file_name": plan.task.files[0], "height": 70, "width": 110, "annotations": []}
    evaluated = DefaultPredictor(cfg).model([inverted(record)])[0]["instances"]
    assert [one["score"] for one in results_of(plan)] == evaluated.scores.tolist()


def test_a_mapper_that_needs_more_than_images_ends_the_prediction(planned: Planned):
    plan = planned("box", names=("0001.png",))

    with pytest.raises(RequestError, match=r"NeedsDepth\.build_mapper\(cfg, False\) makes no input of an image alone"):
        work(replace(plan, own_code=OwnCode(trainer=f"{Inverted.__module__}:NeedsDepth")))


def test_panoptic_and_semantic_models_give_their_segments(planned: Planned):
    plan = planned("semantic", names=("0001.png",))

    work(plan)

    (image,) = json.loads((plan.paths.folder / "segments.json").read_text())
    assert image["image_id"] == 1
    assert image["segments"]
    assert all(segment["segmentation"]["size"] == [70, 110] for segment in image["segments"])
    assert results_of(plan) == []


def test_images_are_drawn_under_their_own_names(planned: Planned, tmp_path: Path):
    plan = planned("mask", draw=True, threshold=0.0)

    work(plan)

    drawn = sorted((tmp_path / "out/images").iterdir())
    assert [file.name for file in drawn] == ["0001.png.jpg", "0002.png.jpg", "0003.png.jpg"]
    with Image.open(drawn[0]) as image:
        assert image.size == (110, 70)


def test_an_image_that_cannot_be_read_is_named_and_the_rest_is_done(planned: Planned, tmp_path: Path):
    (tmp_path / "photos/broken.png").write_bytes(b"no image")
    plan = planned(names=("0001.png", "broken.png", "gone.png", "0003.png"))

    result = work(plan)

    assert result.finished
    assert result.code == codes.UNREADABLE_IMAGES
    assert result.explanation.startswith("2 of 4 images cannot be read: broken.png (it is no image), gone.png (")
    assert {one["image_id"] for one in results_of(plan)} == {"0001.png", "0003.png"}
    assert result.work.bad_test_images == 2


def test_what_is_done_is_not_done_again_and_is_part_of_the_results(planned: Planned):
    work(planned(names=("0001.png", "0002.png")))
    plan = replace(planned(), attempt=2)
    plan.attempt_paths.folder.mkdir()

    result = work(plan)

    newer = [file.name for file in plan.paths.results.iterdir() if file.stat().st_size]
    assert sorted(newer) == ["000001.0.journal", "000002.0.journal"]
    assert len(list(entries_in(plan.paths.results))) == 3
    assert {one["image_id"] for one in results_of(plan)} == {1, 2, 3}
    assert result.work.iterations == 3


def test_a_stop_keeps_what_is_done_and_writes_its_results(planned: Planned, monkeypatch: pytest.MonkeyPatch):
    plan = planned()
    monkeypatch.setattr(STOP, "agreed", lambda _: len(keys_in(plan.paths.results)) == 2)

    result = work(plan)

    assert not result.finished
    assert result.work.iterations == 2
    assert {one["image_id"] for one in results_of(plan)} == {1, 2}


def test_ids_come_from_the_file_that_is_named(planned: Planned, tmp_path: Path):
    listed = [{"id": 70, "file_name": "0001.png"}, {"id": 71, "file_name": "photos/0002.png"}]
    (tmp_path / "images.json").write_text(json.dumps({"images": listed}))
    plan = planned(images_json=str(tmp_path / "images.json"))

    result = work(plan)

    assert {one["image_id"] for one in results_of(plan)} == {70, 71, "0003.png"}
    assert result.work.metrics["predict/without_id"] == 1


def test_a_file_without_ids_is_refused_before_the_model_is_built(planned: Planned, tmp_path: Path):
    (tmp_path / "images.json").write_text("[]")

    with pytest.raises(DataError, match=r"images\.json does not give image ids.*COCO-format"):
        work(planned(images_json=str(tmp_path / "images.json")))


def test_several_images_at_once_give_every_image_its_own_results(planned: Planned):
    plan = planned(model=replace(MODEL, batch=2))
    cfg = small_cfg("box")
    cfg.MODEL.WEIGHTS = plan.keys["MODEL.WEIGHTS"]
    alone = {number: DefaultPredictor(cfg)(photo(seed=number)[:, :, ::-1])["instances"] for number in (1, 2, 3)}

    work(plan)

    for number, expected in alone.items():
        scores = [one["score"] for one in results_of(plan) if one["image_id"] == number]
        assert scores == pytest.approx(expected.scores.tolist(), abs=1e-4)
    assert len({tuple(expected.scores.tolist()) for expected in alone.values()}) == 3


def test_loader_processes_read_ahead_in_the_same_order(planned: Planned, tmp_path: Path):
    names = tuple(f"{number}.png" for number in range(20))
    for number, name in enumerate(names):
        Image.fromarray(photo(seed=number)).save(tmp_path / "photos" / name)
    plan = planned("RetinaNet", names=names)
    keys = plan.keys.nested()
    keys["DATALOADER"]["NUM_WORKERS"] = 2

    work(replace(plan, keys=Keys(keys)))

    assert list(dict.fromkeys(one["image_id"] for one in results_of(plan))) == list(range(20))


def test_the_launcher_hears_of_every_batch(planned: Planned):
    plan = planned()

    work(plan)

    beat = read_beat(plan.attempt_paths.heartbeat)
    assert beat is not None
    assert beat.count >= 3
