"""What `launcher list` prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli.list import KINDS, NEXT
from launcher.cli.main import main
from launcher.errors import ExitCode
from launcher.files import write_text


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["models"], "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"),
        (["models", "retinanet", "R_101"], "COCO-Detection/retinanet_R_101_FPN_3x"),
        (["datasets", "voc"], "voc_2007_trainval"),
        (["datasets"], "dataset=coco_json"),
        (["experiments"], "demo"),
        (["settings", "SOLVER.WARM*"], "SOLVER.WARMUP_ITERS"),
        (["settings", "early", "stop"], "early_stopping.patience"),
        (["settings", "epochs"], "SOLVER.MAX_ITER"),
        (["settings", "augmentation"], "INPUT.CROP.ENABLED"),
        (["settings", "freeze"], "MODEL.BACKBONE.FREEZE_AT"),
        (["causes", "nccl"], "nccl.hangs"),
    ],
)
def test_what_fits_every_word_is_listed_with_what_to_type_next(
    words: list[str], name: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["list", *words]) == ExitCode.finished

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(f"{name} ") or line == name]
    assert lines[-1] == NEXT[words[0]]


def test_the_lines_fit_a_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")

    for kind in ("settings", "experiments", "causes", "datasets"):
        main(["list", kind])

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_json_has_the_same_uncut(capsys: pytest.CaptureFixture[str]):
    main(["list", "settings", "device.precision", "--json"])

    (one,) = json.loads(capsys.readouterr().out)
    assert one["name"] == "device.precision"
    assert one["default"] == "auto"
    assert one["about"].endswith(".")


def test_experiments_of_ones_own_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_text(tmp_path / "experiment/fruits.yaml", "# @package _global_\n# Fruits on tables.\n")

    main(["list", "experiments", "--config-dir", str(tmp_path)])

    assert "fruits      Fruits on tables." in capsys.readouterr().out


def test_a_data_set_that_is_here_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for folder in ("JPEGImages", "Annotations"):
        write_text(tmp_path / "VOC2007" / folder / "1", "")
    write_text(tmp_path / "VOC2007/ImageSets/Main/train.txt", "")

    main(["list", "datasets", "voc_2007_*", "--json"])

    here = {one["name"]: one["here"] for one in json.loads(capsys.readouterr().out)}
    assert (here["voc_2007_train"], here["voc_2007_val"]) == ("yes", "")


def test_a_pattern_that_fits_nothing_is_a_sentence(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "models", "yolo"]) == ExitCode.request_wrong

    assert capsys.readouterr().err == (
        "error: launcher list models yolo: none of 92 fits. Every word must be in a line. All of them: launcher list "
        "models\n"
    )


def test_listing_imports_neither_torch_nor_hydra():
    code = (
        "import sys; from launcher.cli.main import main\n"
        f"for kind in {KINDS}: main(['list', kind])\n"
        "print([name for name in ('torch', 'hydra', 'detectron2') if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.splitlines()[-1] == "[]"
