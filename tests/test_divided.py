"""A data set in one folder and one file: trained on a part, measured on the rest, by whole processes."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from launcher.data.portion import Portion, cut
from launcher.run.paths import RunPaths
from tests.conftest import TINY_MODEL, Launch

pytest.importorskip("detectron2", reason="needs detectron2")

pytestmark = pytest.mark.slow

NAME = "custom_val"


@pytest.fixture
def launch(launch_warm: Launch) -> Launch:
    return launch_warm


@pytest.fixture
def exported(tmp_path: Path, small_demo: Path) -> Path:
    """The demo as FiftyOne exports it, with annotations that are numbered from 0."""
    root = tmp_path / "digits"
    shutil.copytree(small_demo / "train", root / "data")
    content = json.loads((small_demo / "train.json").read_text())
    for number, entry in enumerate(content["annotations"]):
        entry["id"] = number
    (root / "labels.json").write_text(json.dumps(content))
    return root


def ap_by_pycocotools(truth: dict[str, Any], results: Path) -> float:
    """Of a truth that is numbered from 1."""
    for number, entry in enumerate(truth["annotations"], 1):
        entry["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[0])


def settings(exported: Path, *others: str) -> tuple[str, ...]:
    return (
        "train",
        *TINY_MODEL,
        "device=cpu",
        "run.name=divided",
        "dataset=coco_json",
        f"dataset.root={exported}",
        "dataset.val.fraction=0.4",
        "SOLVER.MAX_ITER=2",
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST=0.0",
        *others,
    )


def summary_in(folder: Path) -> dict[str, Any]:
    return json.loads((RunPaths(folder).evaluation / NAME / "summary.json").read_text())


@pytest.mark.parametrize("index", ["off", "on"])
def test_what_validates_is_measured_alone_in_training_and_evaluation(
    tmp_path: Path, exported: Path, launch: Launch, index: str
):
    done = launch(*settings(exported, f"dataset.index={index}"))

    assert done.returncode == 0, done.stderr
    assert "as FiftyOne does it: train labels.json (images in data/)" in done.stdout
    assert "2 of 6 images of" in done.stdout
    assert "id 0, which COCO evaluation takes for `not found`: it is measured under another number" in done.stdout
    run = next((tmp_path / "outputs").glob("*/divided"))
    results = RunPaths(run).evaluation / NAME / "coco_instances_results.json"
    whole = json.loads((exported / "labels.json").read_text())
    truth = cut(whole, Portion(fraction=0.4, seed=0, is_val=True))
    assert {one["image_id"] for one in json.loads(results.read_text())} == {one["id"] for one in truth["images"]}
    summary = summary_in(run)
    assert summary["tasks"]["bbox"]["metrics"]["AP"] == pytest.approx(ap_by_pycocotools(truth, results), abs=1e-9)
    assert (summary["counts"]["images"], summary["counts"]["objects"]) == (2, len(truth["annotations"]))

    again = launch("eval", str(run), "device=cpu")
    assert again.returncode == 0, again.stderr
    (evaluated,) = (run / "evaluations").iterdir()
    assert summary_in(evaluated)["tasks"] == summary["tasks"]


def test_a_run_resumes_with_its_own_division_and_refuses_another(tmp_path: Path, exported: Path, launch: Launch):
    first = launch(*settings(exported))
    assert first.returncode == 0, first.stderr
    run = next((tmp_path / "outputs").glob("*/divided"))

    other = launch(*settings(exported, "dataset.val.seed=1", "SOLVER.MAX_ITER=3"))
    more = launch(*settings(exported, "SOLVER.MAX_ITER=3"))
    later = launch("resume", str(run), "SOLVER.MAX_ITER=4")

    assert other.returncode == 2
    assert "dataset.val.seed: there 0, now 1" in other.stderr
    assert more.returncode == 0, more.stderr
    assert "from iteration 2" in more.stdout or "iteration 2 of 3" in more.stdout
    assert later.returncode == 0, later.stderr
    assert summary_in(run)["iteration"] == 3
