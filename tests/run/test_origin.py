"""Who set a setting in a run, from the files of its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from launcher.config.known_keys import Detectron2Keys
from launcher.files import write_text
from launcher.run.origin import origins_in_run, value_in_run

KNOWN = Detectron2Keys(
    defaults={"SOLVER": {"BASE_LR": 0.001, "MAX_ITER": 40000, "GAMMA": 0.1}},
    open_nodes=frozenset(),
    zoo={"COCO-Detection/small": {"SOLVER": {"BASE_LR": 0.02, "MAX_ITER": 90000}}},
    names={},
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Of an experiment of one's own, which builds on a model of the zoo, with a setting typed and one planned."""
    write_text(
        tmp_path / "mine/experiment/fruits.yaml",
        "# @package _global_\ndefaults:\n  - override /model: COCO-Detection__small\n"
        "  - override /logging: quiet\nSOLVER: {MAX_ITER: 500}\n",
    )
    request = {
        "command": "launcher train --config-dir mine experiment=fruits SOLVER.BASE_LR=0.1",
        "working_directory": str(tmp_path),
        "typed": {"experiment": "fruits", "overrides": ["+experiment=fruits", "SOLVER.BASE_LR=0.1"]},
        "logging": {"period": 100},
        "checkpoint": {"async_": True},
        "keys": {"SOLVER": {"BASE_LR": 0.1, "MAX_ITER": 500, "GAMMA": 0.1}},
    }
    adjustment = {"setting": "SOLVER.BASE_LR", "asked": 0.1, "planned": 0.05, "reason": "half the batch"}
    plan = {"keys": {"SOLVER": {"BASE_LR": 0.05}}, "report": {"adjustments": [adjustment]}}
    write_text(tmp_path / "run/request.yaml", yaml.safe_dump(request))
    write_text(tmp_path / "run/attempts/1/plan.json", json.dumps(plan))
    return tmp_path / "run"


def test_all_who_set_it_are_named_and_the_last_one_counts(run: Path):
    origins = origins_in_run(run, "SOLVER.BASE_LR", KNOWN)

    assert [(one.place, one.value) for one in origins] == [
        ("model=COCO-Detection/small", 0.02),
        ("the command line", "0.1"),
        ("the launcher: half the batch", 0.05),
    ]
    assert value_in_run(run, "SOLVER.BASE_LR") == 0.05


def test_a_file_is_named_with_its_place(run: Path):
    model, file = origins_in_run(run, "SOLVER.MAX_ITER", KNOWN)

    assert (model.place, model.value) == ("model=COCO-Detection/small", 90000)
    assert file.place.startswith("experiment=fruits (")
    assert file.value == 500


def test_what_an_experiment_chooses_is_looked_into(run: Path):
    (quiet,) = origins_in_run(run, "logging.period", KNOWN)

    assert quiet.place.startswith("logging=quiet (")
    assert quiet.value == value_in_run(run, "logging.period") == 100


def test_what_nobody_set_has_no_origin_but_its_default(run: Path):
    assert origins_in_run(run, "SOLVER.GAMMA", KNOWN) == ()


def test_a_name_that_python_forbids_is_found_as_typed(run: Path):
    assert value_in_run(run, "checkpoint.async") is True
