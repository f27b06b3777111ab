"""Image files are looked at before the training: what they are, and what the headers of some say."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launcher.config.request import DatasetRequest
from launcher.data.facts import inspect_dataset
from launcher.data.image_files import ListedImage, look_for_files
from launcher.data.plan import plan_dataset
from launcher.data.tally import Flaw, Tally
from launcher.errors import DataError
from tests.data.examples import KEYS, coco_content, request_for, write_fruits

SIZE = (40, 30)


def notices_of(dataset: DatasetRequest) -> tuple[str, ...]:
    return plan_dataset(request_for(dataset), inspect_dataset(dataset, KEYS)).notices


def save(path: Path, values: Any = None, size: tuple[int, int] = SIZE, **kwargs: Any) -> None:
    image = Image.new("RGB", size) if values is None else Image.fromarray(values)
    image.save(path, **kwargs)


def list_image(folder: Path, file_name: str, **values: Any) -> DatasetRequest:
    """A sound data set, whose second training image has this file and these values."""
    dataset = write_fruits(folder)
    content = coco_content()
    content["images"][1].update(file_name=file_name, **values)
    (folder / "train.json").write_text(json.dumps(content))
    return dataset


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_pipe, r"1 of 2 images are no files \(odd\.png: a named pipe\)"),
        (Path.mkdir, r"1 of 2 images are no files \(odd\.png: a folder\)"),
        (lambda path: path.symlink_to("/dev/zero"), r"1 of 2 images are no files \(odd\.png: a device\)"),
        (lambda path: path.symlink_to("gone.png"), r"1 of 2 images have no file .*\(odd\.png, a link to nothing\)"),
        (make_link_in_a_circle, r"1 of 2 images have no file .*\(odd\.png, a link to nothing\)"),
    ],
)
def test_what_is_no_image_file_is_refused_before_anything_opens_it(
    tmp_path: Path, make: Callable[[Path], object], message: str
):
    dataset = list_image(tmp_path, "odd.png")
    make(tmp_path / "train" / "odd.png")

    with pytest.raises(DataError, match=message):
        notices_of(dataset)


@pytest.mark.parametrize(
    ("file_name", "message"),
    [
        ("x" * 300 + ".png", r"1 of 2 images have no file in .*x{200}\.\.\.\)"),
        ("a\0b/1.png", r"folder of images cannot be read .*embedded null byte"),
        ("a\0b.png", r"1 of 2 images have no file in .*\(a\\x00b\.png\)"),
        ("\x1b[2J.png", r"1 of 2 images have no file in .*\(\\x1b\[2J\.png\)"),
        ("\ud800.png", r"1 of 2 images have no file in .*\(\\ud800\.png\)"),
        ("/dev/zero", r"1 of 2 images are no files \(/dev/zero: a device\)"),
    ],
)
def test_strange_file_names_are_refused_in_letters_that_every_screen_shows(
    tmp_path: Path, file_name: str, message: str
):
    with pytest.raises(DataError, match=message):
        notices_of(list_image(tmp_path, file_name))


def test_a_folder_of_images_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = list_image(tmp_path, "closed/1.jpg")
    real = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)

    with pytest.raises(DataError, match=r"the folder of images cannot be read \(.*closed: Permission denied\)"):
        notices_of(dataset)


@pytest.mark.parametrize(
    ("values", "name", "message"),
    [
        (
            np.zeros((30, 40), np.uint16),
            "2.png",
            r"1 of the 2 images .*\(2\.png: 16-bit\): 16-bit values are divided",
        ),
        (np.zeros((30, 40), np.float32), "2.tif", r"1 of the 2 images .*\(2\.tif: floats\)"),
        (np.zeros((30, 40), np.int32), "2.tif", r"1 of the 2 images .*\(2\.tif: 32-bit\)"),
        (np.zeros((20, 40, 3), np.uint8), "2.png", r"another size than listed \(2\.png: 40 x 20, listed as 40 x 30\)"),
    ],
)
def test_the_headers_of_images_give_notices(tmp_path: Path, values: Any, name: str, message: str):
    dataset = list_image(tmp_path, name)
    save(tmp_path / "train" / name, values)

    (notice,) = notices_of(dataset)

    assert re.search(message, notice)


def test_an_image_that_its_header_turns_has_the_size_as_listed(tmp_path: Path):
    dataset = list_image(tmp_path, "2.jpg")
    exif = Image.Exif()
    exif[0x112] = 6
    save(tmp_path / "train" / "2.jpg", size=(30, 40), exif=exif)

    assert notices_of(dataset) == ()


def test_an_image_that_its_header_turns_and_that_is_listed_as_stored_is_named_before_training(tmp_path: Path):
    dataset = list_image(tmp_path, "2.jpg")
    exif = Image.Exif()
    exif[0x112] = 6
    save(tmp_path / "train" / "2.jpg", size=(40, 30), exif=exif)

    (notice,) = notices_of(dataset)

    assert "2.jpg: 30 x 40 turned as its EXIF orientation says, listed as 40 x 30" in notice


def test_images_with_more_pixels_than_pillow_opens_are_a_notice_with_their_size(tmp_path: Path):
    dataset = list_image(tmp_path, "2.jpg", width=20_000, height=10_000)

    (notice,) = notices_of(dataset)

    assert "1 images have more pixels than Pillow opens, 179 million (id 2: 20000 x 10000)" in notice


def test_of_many_images_a_sample_is_looked_into(tmp_path: Path):
    save(tmp_path / "wide.png", np.zeros((30, 40), np.uint16))
    listed = [ListedImage(f"id {number}", "wide.png", *SIZE) for number in range(1001)]
    tally = Tally()

    assert look_for_files(str(tmp_path), listed, tally) == 167
    assert tally.result() == (Flaw(code="image.wide", count=167, examples=("wide.png: 16-bit",) * 3),)


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_that_are_mostly_of_another_size_than_listed_are_refused(tmp_path: Path, split: str):
    dataset = write_fruits(tmp_path)
    for number in (1, 2):
        save(tmp_path / split / f"{number}.jpg", size=(30, 40))

    with pytest.raises(
        DataError, match=rf"dataset\.{split}\.json=.*2 of the 2 images .*1\.jpg: 30 x 40, listed as 40 x 30"
    ):
        notices_of(dataset)
