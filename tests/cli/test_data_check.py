"""`launcher data check` as it is typed: which data is meant, what is printed, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.cli.data import run
from launcher.cli.data_words import find_images_folder, read_words
from launcher.cli.main import main
from tests.data.defects import DEFECTS, draw_image, write_clean


@pytest.fixture
def fruits(tmp_path: Path) -> Path:
    write_clean(tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    return [str(folder / f"{split}.json") for split in ("train", "val")]


def test_sound_files_are_named_as_they_are_and_give_exit_code_zero(fruits: Path, capsys):
    status = run(["check", *files(fruits)])

    printed = capsys.readouterr().out
    assert status == 0
    assert printed.splitlines()[1].split() == ["train", "8", "8", "32", "0", "2", "8"]
    assert f"train: {fruits / 'train.json'}, images in {fruits / 'train'}" in printed
    assert printed.splitlines()[-1] == "nothing found: a training can start."


def test_what_would_stop_a_training_gives_exit_code_three_and_what_to_change(fruits: Path, capsys):
    DEFECTS["missing image"].spoil(fruits)
    DEFECTS["class without objects"].spoil(fruits)

    status = run(["check", *files(fruits)])

    printed = capsys.readouterr().out
    assert status == 3
    assert "[image.no_file]" in printed
    assert "for example 2.png" in printed
    assert "change: Set dataset.train.images to the folder that holds them" in " ".join(printed.split())
    assert max(len(line) for line in printed.splitlines() if str(fruits) not in line) <= 80
    assert printed.splitlines()[-1].endswith("a training would be refused or fail.")


def test_a_missing_file_that_settings_name_is_a_row_of_the_table(fruits: Path, capsys):
    settings = ["dataset=coco_json", f"dataset.train.json={fruits / 'no.json'}", f"dataset.train.images={fruits}"]

    assert run(["check", *settings]) == 3
    assert "there is no such file; its folder has train.json, val.json [file.unreadable]" in " ".join(
        capsys.readouterr().out.split()
    )


def test_no_images_leaves_them_closed(fruits: Path, capsys):
    DEFECTS["truncated image"].spoil(fruits)

    assert run(["check", *files(fruits), "--no-images"]) == 0
    assert "image.damaged" not in capsys.readouterr().out
    assert run(["check", *files(fruits)]) == 0
    assert "image.damaged" in capsys.readouterr().out


def test_json_has_the_same_values(fruits: Path, capsys):
    DEFECTS["same image in train and val"].spoil(fruits)

    assert run(["check", *files(fruits), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert [(one["code"], one["severity"], one["count"]) for one in report["findings"]] == [
        ("image.in_both", "warning", 1)
    ]
    assert report["would_stop_a_training"] is False
    assert report["files"][0]["classes"][0] == {"name": "date", "objects": 16, "images": 8}


def test_registered_coco_data_is_read_and_not_only_looked_for(tmp_path: Path, capsys):
    write_clean(tmp_path / "made")
    annotations = tmp_path / "coco" / "annotations"
    annotations.mkdir(parents=True)
    for split in ("train", "val"):
        (tmp_path / "made" / split).rename(tmp_path / "coco" / f"{split}2017")
        (tmp_path / "made" / f"{split}.json").rename(annotations / f"instances_{split}2017.json")

    run(["check", "coco_2017", f"dataset.root={tmp_path}", "--json"])

    report = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["num_objects"]) for one in report["files"]] == [
        ("coco_2017_train", 32),
        ("coco_2017_val", 20),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "Which data? For example: launcher data check demo", id="nothing"),
        pytest.param(["demoo"], "Did you mean 'demo'?", id="no data set"),
        pytest.param(["a.json", "b.json", "c.json"], "3 files are named", id="three files"),
        pytest.param(["demo", "coco_2017"], "coco_2017 is one word too many", id="two names"),
    ],
)
def test_words_that_cannot_be_meant_are_answered(words: list[str], message: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "b.json", "c.json"):
        (tmp_path / name).write_text("{}")

    assert main(["data", "check", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_mistyped_command_is_answered_with_the_nearest(capsys):
    assert main(["data", "chek"]) == 2
    assert "Did you mean: launcher data check?" in capsys.readouterr().err


def test_settings_stay_beside_the_files(fruits: Path):
    settings = read_words([files(fruits)[0], "dataset.train.images=elsewhere", "model=X"], command="data check")

    assert settings == [
        "dataset=coco_json",
        f"dataset.train.json={fruits / 'train.json'}",
        "dataset.train.images=elsewhere",
        "model=X",
    ]


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("train.json", "a.png"),
        ("train.json", "images/a.png"),
        ("train.json", "train/a.png"),
        ("annotations/instances_train2017.json", "train2017/a.png"),
        ("annotations/train.json", "images/train/a.png"),
    ],
)
def test_the_folder_of_images_is_found_where_such_folders_are(file: str, image: str, tmp_path: Path):
    for path in (tmp_path / file, tmp_path / image):
        path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text('{"images": [{"id": 1, "file_name": "a.png"}]}')
    draw_image(tmp_path / image, seed=1)

    assert find_images_folder(tmp_path / file).resolve() == (tmp_path / image).parent.resolve()
