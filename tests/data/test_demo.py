"""The demo data, made small, with scikit-learn's real images."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launcher.data.demo import CLASS_NAMES, DemoSpec, Sources, load_sources, make_scene, split_digits, write_demo
from launcher.errors import DataError, RequestError

pytest.importorskip("sklearn", reason="the demo data comes from scikit-learn")
coco_mask = pytest.importorskip("pycocotools.mask", reason="needs pycocotools")

SMALL = {"num_train": 12, "num_val": 4, "size": 128}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("data") / "demo"
    write_demo(folder, **SMALL)
    return folder


def read(folder: Path, split: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"{split}.json").read_text())
    return content


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(demo: Path, tmp_path: Path):
    write_demo(tmp_path / "again", **SMALL)
    write_demo(tmp_path / "other", **SMALL, seed=1)

    assert hashes(tmp_path / "again") == hashes(demo)
    assert hashes(tmp_path / "other")["train/00001.jpg"] != hashes(demo)["train/00001.jpg"]


def test_each_split_has_the_images_asked_for_and_all_ten_classes(demo: Path):
    for split, number in (("train", 12), ("val", 4)):
        content = read(demo, split)

        assert [image["file_name"] for image in content["images"]] == sorted(
            path.name for path in (demo / split).iterdir()
        )
        assert len(content["images"]) == number
        assert [category["name"] for category in content["categories"]] == list(CLASS_NAMES)
        assert {Image.open(path).size for path in (demo / split).iterdir()} == {(128, 128)}


def test_pycocotools_reads_the_files_and_finds_area_and_box_in_each_mask(demo: Path):
    from pycocotools.coco import COCO

    for split in ("train", "val"):
        coco = COCO(str(demo / f"{split}.json"))
        for annotation in coco.loadAnns(coco.getAnnIds()):
            mask = coco.annToMask(annotation).astype(bool)
            rows, columns = np.nonzero(mask)

            assert annotation["area"] == mask.sum() > 0
            assert annotation["bbox"] == [
                columns.min(),
                rows.min(),
                columns.max() - columns.min() + 1,
                rows.max() - rows.min() + 1,
            ]


def test_no_digit_image_is_in_both_splits(demo: Path):
    used = {split: {entry["source_digit"] for entry in read(demo, split)["annotations"]} for split in ("train", "val")}
    allowed = split_digits(1797, 0)
    digits = load_sources().digits

    assert used["train"]
    assert used["val"]
    assert used["train"] <= set(allowed["train"].tolist())
    assert used["val"] <= set(allowed["val"].tolist())
    assert not set(allowed["train"].tolist()) & set(allowed["val"].tolist())
    # Nor is it there twice under two numbers.
    assert len(np.unique(digits.reshape(len(digits), -1), axis=0)) == len(digits)


def test_the_label_is_that_of_the_source_digit(demo: Path):
    labels = load_sources().labels

    for annotation in read(demo, "train")["annotations"]:
        assert annotation["category_id"] == labels[annotation["source_digit"]] + 1


def test_masks_are_of_visible_pixels_only(demo: Path):
    content = read(demo, "train")

    for image in content["images"]:
        masks = [
            coco_mask.decode(entry["segmentation"])
            for entry in content["annotations"]
            if entry["image_id"] == image["id"]
        ]
        assert np.sum(masks, axis=0).max() == 1


def ring_sources() -> Sources:
    """One digit that is a thick ring, and one that is a full square."""
    ring = np.ones((8, 8))
    ring[3:5, 3:5] = 0
    return Sources(
        digits=np.stack([ring, np.ones((8, 8))]), labels=np.array([0, 1]), photos=(Image.new("RGB", (640, 427)),)
    )


def test_the_hole_of_a_digit_is_not_part_of_its_mask_and_shows_the_background():
    scene = make_scene(np.full((128, 128, 3), 40.0), ring_sources(), [0], np.random.default_rng(3))

    (digit,) = scene.digits
    rows, columns = np.nonzero(digit.mask)
    middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    assert not digit.mask[middle]
    assert scene.pixels[middle].tolist() == [40, 40, 40]
    assert (scene.pixels[digit.mask] != 40).any(axis=1).all()


def test_a_crowded_scene_leaves_most_of_every_digit_visible():
    sources = ring_sources()
    alone = {}
    for source in (0, 1):
        (digit,) = make_scene(np.zeros((128, 128, 3)), sources, [source], np.random.default_rng(0)).digits
        alone[source] = digit.mask.sum() / _box_area(digit.mask)

    scene = make_scene(np.zeros((128, 128, 3)), sources, [0, 1] * 20, np.random.default_rng(0))

    assert 2 <= len(scene.digits) < 40
    for digit in scene.digits:
        assert digit.mask.sum() / _box_area(digit.mask) > 0.5 * alone[digit.source]


def _box_area(mask: np.ndarray) -> int:
    rows, columns = np.nonzero(mask)
    return int((rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1))


def test_a_complete_folder_is_left_alone(demo: Path):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}

    write_demo(demo, **SMALL)

    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


@pytest.mark.parametrize("lost", ["val.json", "train/00003.jpg"])
def test_an_incomplete_folder_is_made_again(demo: Path, tmp_path: Path, lost: str):
    write_demo(tmp_path / "demo", **SMALL)
    (tmp_path / "demo" / lost).unlink()

    write_demo(tmp_path / "demo", **SMALL)

    assert hashes(tmp_path / "demo") == hashes(demo)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_failure_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(DataError, match=rf"cannot be written to {tmp_path}/demo: No space left.*another folder"):
        write_demo(tmp_path / "demo", **SMALL)

    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_can_be_filled_and_stays_the_same_folder(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino

    write_demo(Path("."), **SMALL)

    assert tmp_path.stat().st_ino == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train", "train.json", "val", "val.json"]
    assert hashes(tmp_path) == hashes(demo)


def test_hidden_files_are_neither_strangers_nor_images(demo: Path, tmp_path: Path):
    shutil.copytree(demo, tmp_path / "demo")
    for folder in ("demo", "demo/train"):
        (tmp_path / folder / ".DS_Store").touch()
    before = (tmp_path / "demo" / "train.json").stat().st_mtime_ns

    write_demo(tmp_path / "demo", **SMALL)
    assert (tmp_path / "demo" / "train.json").stat().st_mtime_ns == before

    (tmp_path / "demo" / "val.json").unlink()
    write_demo(tmp_path / "demo", **SMALL)
    assert (tmp_path / "demo" / ".DS_Store").exists()


def test_a_place_where_no_folder_can_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(DataError, match=r"cannot be written to .*file/data/demo: Not a directory.*another folder"):
        write_demo(tmp_path / "file" / "data" / "demo", **SMALL)


def test_numbers_that_make_no_sense_are_refused_all_at_once(tmp_path: Path):
    with pytest.raises(RequestError, match=r"--train is -3, .* at least 1; --size is 5, .*; --seed is -1, .* 0\."):
        write_demo(tmp_path / "demo", num_train=-3, size=5, seed=-1)

    assert list(tmp_path.iterdir()) == []


def test_the_smallest_scenes_can_be_made(tmp_path: Path):
    write_demo(tmp_path / "demo", num_train=3, num_val=1, size=32)

    assert read(tmp_path / "demo", "train")["annotations"]


def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path: Path):
    (tmp_path / "holiday.jpg").write_text("mine")

    with pytest.raises(DataError, match=r"other files \(holiday\.jpg\).*new folder"):
        write_demo(tmp_path, **SMALL)

    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_demo_data_of_another_make_is_refused_and_named(demo: Path):
    before = hashes(demo)

    with pytest.raises(DataError, match=r"'seed': 0.*'seed': 5.*remove this one"):
        write_demo(demo, **SMALL, seed=5)

    assert hashes(demo) == before


def test_without_scikit_learn_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)

    with pytest.raises(DataError, match=r"detectron2-launcher\[demo\]"):
        write_demo(tmp_path / "demo", **SMALL)


def test_the_spec_is_kept_in_the_files(demo: Path):
    assert DemoSpec(**read(demo, "val")["info"]["demo"]) == DemoSpec(num_train=12, num_val=4, size=128, seed=0)
