from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from iopath.common.file_io import PathManager

from launcher.train.evaluation.evaluators import SturdyCOCOEvaluator

NAME = "evaluated_by_a_test"
FILES = ("instances_predictions.pth", "coco_instances_results.json")


@pytest.fixture
def data(tmp_path: Path) -> Any:
    """One image with an object of each of two classes, whose category numbers are not those of the model."""
    boxes = ([2, 2, 10, 10], [20, 20, 10, 10])
    annotations = [
        {"id": n + 1, "image_id": 1, "category_id": 5 - n, "bbox": box, "area": 100, "iscrowd": 0}
        for n, box in enumerate(boxes)
    ]
    coco = {
        "info": {},
        "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 40}],
        "categories": [{"id": 4, "name": "four"}, {"id": 5, "name": "five"}],
        "annotations": annotations,
    }
    file = tmp_path / "data.json"
    file.write_text(json.dumps(coco))
    register_coco_instances(NAME, {}, str(file), str(tmp_path))
    DatasetCatalog.get(NAME)
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def results_of(evaluator: COCOEvaluator) -> dict[str, dict[str, float]]:
    found = Instances((40, 40))
    found.pred_boxes = Boxes(torch.tensor([[2.0, 2.0, 12.0, 12.0], [20.0, 20.0, 30.0, 30.0], [0.0, 0.0, 5.0, 5.0]]))
    found.scores = torch.tensor([0.9, 0.8, 0.95])
    found.pred_classes = torch.tensor([1, 0, 1])
    evaluator.reset()
    evaluator.process([{"image_id": 1, "height": 40, "width": 40}], [{"instances": found}])
    return evaluator.evaluate()


def test_results_are_written_as_detectron2_does(data: str, tmp_path: Path):
    theirs = results_of(COCOEvaluator(data, output_dir=str(tmp_path / "theirs")))

    own = results_of(SturdyCOCOEvaluator(data, output_dir=str(tmp_path / "own")))

    assert repr(own) == repr(theirs)  # NaN is not equal to itself
    assert 0 < own["bbox"]["AP"] < 100
    assert (tmp_path / "own" / FILES[1]).read_text() == (tmp_path / "theirs" / FILES[1]).read_text()


NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
AS_TORCH_SAYS_IT = RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 704 vs 598")


@pytest.mark.parametrize(("refused", "error"), [(FILES[0], NO_ROOM), (FILES[0], AS_TORCH_SAYS_IT), (FILES[1], NO_ROOM)])
def test_results_that_cannot_be_written_end_no_evaluation_and_change_no_number(
    data: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refused: str,
    error: Exception,
):
    expected = results_of(COCOEvaluator(data, output_dir=str(tmp_path / "whole")))
    folder = tmp_path / "full"
    real = PathManager.open

    def open_on_a_full_disk(self: PathManager, path: str, *arguments: Any, **more: Any) -> Any:
        if path == str(folder / refused):
            raise error
        return real(self, path, *arguments, **more)

    monkeypatch.setattr(PathManager, "open", open_on_a_full_disk)

    with caplog.at_level(logging.WARNING):
        results = results_of(SturdyCOCOEvaluator(data, output_dir=str(folder)))

    assert repr(results) == repr(expected)
    assert "could not be written" in caplog.text
    assert list(folder.iterdir()) == []
