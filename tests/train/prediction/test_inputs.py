"""A model predicts on what it was evaluated with, also where a trainer's own mapper makes that."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.detection_utils import read_image
from PIL import Image

from launcher.config.keys import Keys
from launcher.config.request import OwnCode
from launcher.train.prediction.images import load_images
from launcher.train.prediction.inputs import MappedInputs, PixelInputs, inputs_for
from launcher.train.prediction.loaded import ToLoad, load_here
from launcher.train.samples.mapped import Mapper
from launcher.train.trainer import Trainer
from tests.train.prediction.models import draw_weights, photo, small_cfg


class Squares(Trainer):
    """Other augmentations than detectron2's, in its own mapper."""

    @classmethod
    def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Mapper:
        return DatasetMapper(cfg, is_train=is_train, augmentations=[T.Resize((64, 64)), T.RandomFlip(prob=1.0)])


def inverted(record: dict[str, Any]) -> dict[str, Any]:
    """A mapper as detectron2's tutorial has it: it takes annotations, and reads the file itself."""
    record = copy.deepcopy(record)
    image = read_image(record.pop("file_name"), format="BGR")
    assert record.pop("annotations") is not None
    record["image"] = torch.from_numpy(255 - image.transpose(2, 0, 1).astype("float32"))
    return record


class Inverted(Trainer):
    @classmethod
    def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Mapper:
        return inverted


class OnlyTraining(Trainer):
    @classmethod
    def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Mapper:
        return inverted if is_train else super().build_mapper(cfg, is_train)


class NeedsDepth(Trainer):
    @classmethod
    def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Mapper:
        return needing_depth


def needing_depth(record: dict[str, Any]) -> dict[str, Any]:
    return {"image": torch.from_numpy(np.load(record["depth_file"]))}


@pytest.fixture
def file(tmp_path: Path) -> str:
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
@pytest.mark.parametrize("trainer_class", [Squares, Inverted, OnlyTraining, Trainer])
def test_a_model_predicts_on_what_it_is_evaluated_with(trainer_class: type[Trainer], image_format: str, file: str):
    cfg = small_cfg("box", INPUT__FORMAT=image_format)
    record = {"file_name": file, "image_id": 1, "height": 70, "width": 110, "annotations": []}
    evaluated = trainer_class.build_mapper(cfg, False)(record)
    assert evaluated is not None

    predicted = inputs_for(trainer_class, cfg)(read_image(file, "BGR"), file)

    assert torch.equal(predicted["image"], evaluated["image"].float())
    assert (predicted["height"], predicted["width"]) == (evaluated["height"], evaluated["width"]) == (70, 110)


@pytest.mark.parametrize("trainer_class", [Squares, Inverted])
def test_pixels_without_a_file_are_mapped_like_those_of_one(trainer_class: type[Trainer], file: str):
    inputs, pixels = inputs_for(trainer_class, small_cfg("box")), read_image(file, "BGR")

    assert torch.equal(inputs(pixels)["image"], inputs(pixels, file)["image"])


@pytest.mark.parametrize("trainer_class", [Squares, OnlyTraining, Trainer])
def test_detectron2s_own_mapper_needs_no_file(trainer_class: type[Trainer]):
    assert isinstance(inputs_for(trainer_class, small_cfg("box")), PixelInputs)


def test_a_keypoint_model_whose_training_data_is_not_there_has_inputs_too():
    cfg = small_cfg("keypoint", DATASETS__TRAIN=("nobody_knows",))

    inputs = inputs_for(OnlyTraining, cfg)

    assert inputs(photo())["image"].shape[1] == cfg.INPUT.MIN_SIZE_TEST


def test_a_loader_of_ones_own_which_predictions_cannot_use_is_reported(caplog: pytest.LogCaptureFixture):
    class OwnLoader(Trainer):
        @classmethod
        def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
            return super().build_test_loader(cfg, dataset_name)

    inputs_for(OwnLoader, small_cfg("box"))

    assert "OwnLoader.build_test_loader" in caplog.text
    assert "is not used for predictions" in caplog.text


def test_a_loaded_predictor_uses_the_mapper_for_files_and_for_pixels(file: str, tmp_path: Path):
    cfg = small_cfg("box")
    draw_weights(cfg, tmp_path / "weights.pth")
    asked = {"device": "cpu", "why": "", "precision": "", "deformable_by": "", "averaged": False}
    keys = Keys(json.loads(json.dumps(cfg)))
    predictor, plain = (
        load_here(ToLoad(keys=keys, own_code=own_code, classes="", annotations="", **asked))
        for own_code in (OwnCode(trainer=f"{__name__}:Inverted"), OwnCode())
    )

    scores = predictor(file)["instances"].scores.tolist()

    evaluated = predictor.model([inverted({"file_name": file, "height": 70, "width": 110, "annotations": []})])
    assert scores == evaluated[0]["instances"].scores.tolist()
    assert scores == predictor(read_image(file, "BGR"))["instances"].scores.tolist()
    assert scores != plain(file)["instances"].scores.tolist()


def of_one_colour(record: dict[str, Any]) -> dict[str, Any] | None:
    return {"image": torch.zeros(3, 8, 8)} if np.ptp(read_image(record["file_name"])) == 0 else None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_mapper_that_needs_more_than_an_image_is_refused_with_what_there_is(num_workers: int, file: str):
    inputs = MappedInputs(needing_depth, name="Depth")

    loaded = [
        one
        for batch in load_images([file] * 20, inputs, batch=1, num_workers=num_workers, to_draw=False)
        for one in batch
    ]

    assert {one.problem for one in loaded} == {""}
    assert "Depth.build_mapper(cfg, False) makes no input of an image alone (KeyError" in loaded[0].refusal
    assert "file_name, height, image_id, width and an empty list of annotations" in loaded[0].refusal


def test_an_image_that_a_mapper_leaves_out_is_named_and_no_other(file: str, tmp_path: Path):
    Image.new("RGB", (30, 20), (255, 255, 255)).save(tmp_path / "white.png")
    inputs = MappedInputs(of_one_colour, name="Plain")
    files = [file, str(tmp_path / "white.png")]

    (photograph, white) = next(load_images(files, inputs, batch=2, num_workers=0, to_draw=False))

    assert "Plain.build_mapper gives nothing for it" in photograph.problem
    assert not photograph.refusal
    assert white.input is not None
    assert (white.input["height"], white.input["width"]) == (20, 30)
