"""`launcher data convert`, as it is typed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli.main import main
from launcher.errors import ExitCode
from tests.data.convert.written import picture, text, voc_file, voc_object


def a_data_set(root: Path, *labels: str) -> Path:
    for name in ("a", "b"):
        picture(root / "images" / f"{name}.jpg")
    text(root / "labels/a.txt", *labels)
    text(root / "data.yaml", "train: images", "names: [apple, pear]")
    return root


def test_what_was_read_lost_and_written_is_said_and_what_to_type_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = a_data_set(tmp_path / "my fruits", "0 0.5 0.5 0.5 0.5", "9 0.5 0.5 0.5 0.5", "1 0.5 0.5 0.9 1.5")

    code = main(["data", "convert", str(source), str(tmp_path / "my coco")])

    assert code == ExitCode.finished
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"YOLO data in {source}, 2 classes: apple, pear",
        f"  {tmp_path}/my coco/train.json: images 2, objects with boxes alone 2, images without objects 1",
        "left out:",
        "  objects of a class that `names` does not have: 1",
        f"    {source}/labels/a.txt:2: class 9",
        "kept otherwise, or worth a look:",
        "  objects that reach beyond their image, kept as they are: 1",
        f"    {source}/labels/a.txt:3: 1 0.5 0.5 0.9 1.5",
        f"next: launcher plan model=COCO-Detection/faster_rcnn_R_50_FPN_1x dataset=coco_json "
        f"'dataset.root={tmp_path}/my coco' dataset.val.fraction=0.2",
    ]


def test_masks_are_followed_by_a_model_of_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = a_data_set(tmp_path / "yolo", "0 0.1 0.1 0.5 0.1 0.5 0.5")

    main(["data", "convert", str(source), str(tmp_path / "coco")])

    printed = capsys.readouterr().out
    assert "nothing was left out" in printed
    assert "model=COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x" in printed


@pytest.mark.parametrize(
    ("labels", "options", "code", "said"),
    [
        (["0 0.5"], [], ExitCode.data_wrong, "labels/a.txt:1: 2 numbers"),
        (
            ["0 0.5"],
            ["--skip-malformed"],
            ExitCode.data_wrong,
            "Left out:\n  - what cannot be read (--skip-malformed): 1",
        ),
        (["0 0.5 0.5 0.5 0.5"], ["--from", "voc"], ExitCode.data_wrong, "has no images with labels"),
    ],
)
def test_what_cannot_be_converted_has_its_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    labels: list[str],
    options: list[str],
    code: ExitCode,
    said: str,
):
    source = a_data_set(tmp_path / "yolo", *labels)

    assert main(["data", "convert", str(source), str(tmp_path / "coco"), *options]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "coco").exists()


def test_how_voc_is_understood_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    picture(tmp_path / "voc/a.jpg")
    voc_file(tmp_path / "voc/a.xml", voc_object("pear", (1, 1, 5, 5), "<difficult>1</difficult>"))

    options = ["--origin", "0", "--difficult-as-objects"]
    assert main(["data", "convert", str(tmp_path / "voc"), str(tmp_path / "coco"), *options]) == 0

    printed = capsys.readouterr().out
    assert "coordinates count from 0, and xmax and ymax are edges: x = xmin, width = xmax - xmin, as asked" in printed
    assert "marked difficult, kept as objects" in printed


def test_converting_leaves_torch_and_detectron2_alone(tmp_path: Path):
    source = a_data_set(tmp_path / "yolo", "0 0.5 0.5 0.5 0.5")
    code = (
        "import sys; from launcher.cli.main import main; "
        f"main(['data', 'convert', {str(source)!r}, {str(tmp_path / 'coco')!r}]); "
        "sys.exit(bool({'torch', 'detectron2', 'hydra'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_the_next_command_takes_what_has_nothing_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = a_data_set(tmp_path / "yolo", "0 0.5 0.5 0.5 0.5")
    text(source / "data.yaml", "test: images", "names: [apple, pear]")

    main(["data", "convert", str(source), str(tmp_path / "my coco")])

    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"next: launcher data check '{tmp_path}/my coco/test.json'"
    assert main(shlex.split(last)[2:]) == ExitCode.finished
