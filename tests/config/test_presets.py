from __future__ import annotations

from pathlib import Path

from launcher.config.presets import config_folders, configs_folder, groups, presets
from launcher.files import write_text

MINE = """\
# @package _global_
# launcher train --config-dir mine experiment=fruits
# Fruits on tables.
defaults:
  - override /model: COCO-Detection__retinanet_R_50_FPN_1x
  - override /dataset: coco_json
SOLVER:
  MAX_ITER: 7
"""


def test_a_preset_says_what_it_is_for_what_it_chooses_and_what_it_sets(tmp_path: Path):
    write_text(tmp_path / "experiment/fruits.yaml", MINE)

    (fruits,) = presets("experiment", [tmp_path])

    assert fruits.summary == "Fruits on tables."
    assert fruits.chooses == {"model": "COCO-Detection__retinanet_R_50_FPN_1x", "dataset": "coco_json"}
    assert fruits.sets == {"SOLVER.MAX_ITER": 7}


def test_a_file_of_one_group_sets_what_is_below_it(tmp_path: Path):
    write_text(tmp_path / "device/mine.yaml", "choice: cpu\ncount: 2\n")

    (mine,) = presets("device", [tmp_path])

    assert mine.sets == {"device.choice": "cpu", "device.count": 2}


def test_a_file_of_ones_own_wins_over_the_launchers_of_that_name(tmp_path: Path):
    write_text(tmp_path / "experiment/coco.yaml", MINE)

    found = {one.name: one for one in presets("experiment", config_folders(str(tmp_path)))}

    assert found["coco"].file.is_relative_to(tmp_path)
    assert found["demo"].file.is_relative_to(configs_folder())


def test_a_file_that_is_no_yaml_sets_nothing(tmp_path: Path):
    write_text(tmp_path / "experiment/broken.yaml", "a: [")

    (broken,) = presets("experiment", [tmp_path])

    assert (broken.sets, broken.chooses) == ({}, {})


def test_the_launcher_has_these_groups():
    assert {"dataset", "device", "experiment", "logging", "solver"} <= set(groups([configs_folder()]))
