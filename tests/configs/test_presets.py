from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.config.compose import run_hydra
from launcher.config.known_keys import read_keys
from launcher.config.presets import configs_folder
from launcher.config.request import RunRequest
from launcher.config.values import to_plain

FILES = sorted(configs_folder().rglob("*.yaml"))


DATA = ("dataset=coco_2017",)
WITHOUT_DATA = ("cluster", "debug", "device", "logging", "solver")
NEEDED = {"coco_json": tuple(f"dataset.train.{what}=there" for what in ("json", "images"))}
"""What a preset leaves to whoever uses it."""


def requested(*arguments: str) -> RunRequest:
    requests: list[RunRequest] = []
    run_hydra(arguments, requests.append)
    return requests[0]


def leaves(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_file_opens_with_the_command_that_uses_it(file: Path):
    first_words = next(line for line in file.read_text().splitlines() if not line.startswith("# @package"))

    assert first_words.startswith(("# launcher ", "# python -m pdb -m launcher "))
    assert file.parent == configs_folder() or file.stem in first_words


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.parent != configs_folder()], ids=lambda file: file.stem
)
def test_a_preset_composes_and_what_it_sets_arrives(file: Path):
    content = yaml.safe_load(file.read_text())
    content.pop("defaults", None)
    is_global = "# @package _global_" in file.read_text()

    request = requested(
        f"{file.parent.name}={file.stem}", *NEEDED.get(file.stem, DATA if file.parent.name in WITHOUT_DATA else ())
    )

    prefix = "" if is_global else f"{file.parent.name}."
    asked = {key: value for key, value in leaves(content, prefix).items() if "$" not in str(value)}
    arrived = leaves({**to_plain(request), **request.keys.nested()})
    assert asked or file.stem == "coco", "only coco does nothing but choose"
    assert {key: arrived[key] for key in asked} == asked


def test_coco_is_the_zoo_model_on_its_own_data():
    zoo = read_keys().zoo["COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"]

    arrived = dict(requested("experiment=coco").keys.leaves())

    assert {key: arrived[key] for key in leaves(zoo)} == leaves(zoo)
    assert arrived["DATASETS.TEST"] == ["coco_2017_val"]


def test_coco_quick_is_a_hundred_small_iterations_without_evaluation():
    keys = requested("experiment=coco_quick").keys

    assert keys["SOLVER.MAX_ITER"] == 100
    assert keys["SOLVER.IMS_PER_BATCH"] == 2
    assert keys["SOLVER.BASE_LR"] == 0.00025
    assert keys["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE"] == 128
    assert keys["MODEL.ROI_HEADS.NUM_CLASSES"] == 80
    assert keys["DATALOADER.NUM_WORKERS"] == 2
    assert keys["DATASETS.TRAIN"] == ["coco_2017_train"]
    assert keys["DATASETS.TEST"] == []
    assert keys["MODEL.MASK_ON"] is True


def test_debugging_overrides_an_experiment():
    request = requested("debug=cpu", "experiment=coco")

    assert request.run.in_place
    assert request.device.choice.value == "cpu"
    assert request.keys["DATALOADER.NUM_WORKERS"] == 0


def test_overfitting_evaluates_on_the_training_images():
    keys = requested("experiment=coco", "debug=overfit").keys

    assert keys["DATASETS.TEST"] == keys["DATASETS.TRAIN"] == ["coco_2017_train"]
    assert keys["INPUT.MIN_SIZE_TRAIN"] == [800]
