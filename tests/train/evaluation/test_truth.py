"""The AP of a part of a file, and of a file that counts from 0, by pycocotools and hotcoco."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances

from launcher.config.request import EvaluationBackend
from launcher.config.values import read_json_if_valid
from launcher.data.index.store import IndexStore
from launcher.data.plan import CocoSplit
from launcher.data.portion import Portion, cut
from launcher.run.paths import RunPaths
from launcher.train.evaluation.coco import SturdyCOCOEvaluator
from launcher.train.evaluation.comparing import Truth, compare_evaluations, note_truth
from launcher.train.evaluation.report import read_measured
from launcher.train.evaluation.truth import ANNOTATIONS
from launcher.train.samples.indexed import open_records
from launcher.train.samples.register import register_datasets

PART, ALONE = "divided_val", "alone_val"
VAL = Portion(fraction=0.3, seed=0, is_val=True)


@pytest.fixture(autouse=True)
def _registered_for_a_test() -> Iterator[None]:
    yield
    for name in (PART, ALONE):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def content(first_id: int) -> dict[str, Any]:
    """Ten images with two objects each, numbered from `first_id` on."""
    objects = [
        {
            "id": first_id + 2 * image + which,
            "image_id": image,
            "category_id": 4 + which,
            "bbox": [2.0 + 20 * which, 3.0 + image, 10.0, 12.0],
            "area": 120.0,
            "iscrowd": 0,
        }
        for image in range(10)
        for which in range(2)
    ]
    return {
        "info": {},
        "images": [{"id": image, "file_name": f"{image}.png", "height": 40, "width": 40} for image in range(10)],
        "categories": [{"id": 4, "name": "four"}, {"id": 5, "name": "five"}],
        "annotations": objects,
    }


def split_of(file: Path, name: str, portion: Portion | None = None, *, is_indexed: bool = False) -> CocoSplit:
    indexes = IndexStore(folders=[file.parent / "cache"], fewest_bytes=0, announce=lambda _: None)
    opened = indexes.open(file, portion) if is_indexed else None
    index = None if opened is None else opened.facts
    return CocoSplit(name=name, json=str(file), images=str(file.parent), portion=portion, index=index)


def images_of(name: str, *, is_indexed: bool) -> list[int]:
    if is_indexed:
        records: Any = open_records([name], filter_empty=False, min_keypoints=0)
        assert records is not None
    else:
        records = get_detection_dataset_dicts([name], filter_empty=False)
    return [records[place]["image_id"] for place in range(len(records))]


def predict(image: int) -> Instances:
    """The first object as it is, the second one a little off, and one that is not there."""
    found = Instances((40, 40))
    found.pred_boxes = Boxes(
        torch.tensor([[2.0, 3 + image, 12, 15 + image], [23.0, 4 + image, 32, 16 + image], [0.0, 0, 5, 5]])
    )
    found.scores = torch.tensor([0.9, 0.8 - image / 50, 0.95 - image / 20])
    found.pred_classes = torch.tensor([0, 1, 1])
    return found


def results_of(evaluator: COCOEvaluator, images: list[int]) -> dict[str, float]:
    evaluator.reset()
    for image in images:
        sample = {"image_id": image, "height": 40, "width": 40, "file_name": f"{image}.png"}
        evaluator.process([sample], [{"instances": predict(image)}])
    measured: dict[str, float] = evaluator.evaluate()["bbox"]
    return measured


def with_backend(name: str, folder: Path, backend: EvaluationBackend) -> SturdyCOCOEvaluator:
    evaluator = SturdyCOCOEvaluator(name, output_dir=str(folder))
    evaluator.backend = backend
    return evaluator


BACKENDS = (EvaluationBackend.pycocotools, EvaluationBackend.hotcoco)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_indexed", [False, True])
@pytest.mark.parametrize("first_id", [0, 1])
def test_a_part_has_the_ap_of_a_file_with_its_images_alone(
    tmp_path: Path, first_id: int, is_indexed: bool, backend: EvaluationBackend
):
    whole, alone = tmp_path / "whole.json", tmp_path / "alone.json"
    whole.write_text(json.dumps(content(first_id)))
    alone.write_text(json.dumps(cut(content(1), VAL)))
    register_datasets([split_of(whole, PART, VAL, is_indexed=is_indexed), split_of(alone, ALONE)])
    images = images_of(PART, is_indexed=is_indexed)
    assert images == images_of(ALONE, is_indexed=False)
    assert len(images) == 3

    own = results_of(with_backend(PART, tmp_path / "own", backend), images)

    assert repr(own) == repr(results_of(COCOEvaluator(ALONE, output_dir=str(tmp_path / "theirs")), images))
    assert 0 < own["AP"] < 100


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_that_counts_from_0_has_the_ap_of_one_that_counts_from_1(tmp_path: Path, backend: EvaluationBackend):
    measured = []
    for name, first_id in ((PART, 0), (ALONE, 1)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content(first_id)))
        register_datasets([split_of(tmp_path / f"{name}.json", name)])
        images = images_of(name, is_indexed=False)
        measured.append(results_of(with_backend(name, tmp_path / name, backend), images))

    assert repr(measured[0]) == repr(measured[1])
    assert json.loads((tmp_path / f"{PART}.json").read_text())["annotations"][0]["id"] == 0
    truth = read_measured(PART, tmp_path / PART)
    assert truth is not None
    assert min(entry["id"] for entry in truth.ground_truth["annotations"]) == 1


def test_an_evaluator_of_detectron2_itself_sees_the_images_of_the_part_alone(tmp_path: Path):
    (tmp_path / "whole.json").write_text(json.dumps(content(1)))
    (tmp_path / "alone.json").write_text(json.dumps(cut(content(1), VAL)))
    register_datasets([split_of(tmp_path / "whole.json", PART, VAL), split_of(tmp_path / "alone.json", ALONE)])
    images = images_of(PART, is_indexed=False)
    images_of(ALONE, is_indexed=False)

    of_part, of_file = (
        results_of(COCOEvaluator(name, output_dir=str(tmp_path / name)), images) for name in (PART, ALONE)
    )

    assert of_part["AP"] == of_file["AP"]


def test_where_results_cannot_be_written_the_part_is_measured_all_the_same(tmp_path: Path):
    (tmp_path / "whole.json").write_text(json.dumps(content(1)))
    register_datasets([split_of(tmp_path / "whole.json", PART, VAL)])
    images = images_of(PART, is_indexed=False)
    (tmp_path / "a file").touch()

    results = [
        results_of(SturdyCOCOEvaluator(PART, output_dir=folder), images)
        for folder in (str(tmp_path / "a file" / "x"), None, str(tmp_path / "results"))
    ]

    assert repr(results[0]) == repr(results[1]) == repr(results[2])


def test_two_evaluations_of_one_part_can_be_compared(tmp_path: Path):
    (tmp_path / "whole.json").write_text(json.dumps(content(0)))
    register_datasets([split_of(tmp_path / "whole.json", PART, VAL)])
    images = images_of(PART, is_indexed=False)
    cfg = get_cfg()
    cfg.DATASETS.TEST = (PART,)
    for run in ("a", "b"):
        folder = RunPaths(tmp_path / run).evaluation / PART
        results_of(SturdyCOCOEvaluator(PART, output_dir=str(folder)), images)
        note_truth(cfg, RunPaths(tmp_path / run))
        assert len(json.loads((folder / ANNOTATIONS).read_text())["images"]) == 3

    (comparison,) = compare_evaluations(tmp_path / "a", tmp_path / "b")

    assert comparison.task == "bbox"
    truth = read_json_if_valid(RunPaths(tmp_path / "a").evaluation / PART / "truth.json", Truth)
    assert truth == Truth(annotations=str(tmp_path / "whole.json"), sigmas=[], portion=VAL)
