from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy as numpy  # the name that messages use
import pytest
import torch
from detectron2.data.detection_utils import read_image
from PIL import Image

from launcher.errors import LauncherError
from launcher.train.prediction.pixels import ImageError, as_pixels
from tests.train.prediction.models import photo


def test_an_array_of_the_right_kind_is_taken_as_it_is():
    image = photo()

    assert as_pixels(image) is image


def test_a_path_and_an_image_of_pillow_are_read_as_detectron2_reads_them(tmp_path: Path):
    file = tmp_path / "a.png"
    Image.fromarray(photo()).save(file)
    expected = read_image(str(file), format="BGR")

    for given in (file, str(file), Image.open(file)):
        assert np.array_equal(as_pixels(given), expected)


def test_an_image_of_pillow_is_turned_as_its_camera_has_noted_like_its_file(tmp_path: Path):
    file, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = 6  # Orientation: a quarter turn
    Image.fromarray(photo()).save(file, exif=exif)

    assert as_pixels(Image.open(file)).shape == (110, 70, 3)
    assert np.array_equal(as_pixels(Image.open(file)), as_pixels(file))


def test_an_image_of_pillow_loses_its_alpha_channel():
    image = Image.fromarray(photo()).convert("RGBA")

    assert as_pixels(image).shape == (70, 110, 3)


FLOATS = (photo() / 255).astype(np.float32)
WRONG = {
    "NCHW floats": (FLOATS.transpose(2, 0, 1)[None], r"float32.*\(1, 3, 70, 110\)"),
    "CHW": (photo().transpose(2, 0, 1), r"shape is \(3, 70, 110\)"),
    "floats from 0 to 1": (FLOATS, "type is float32, not uint8"),
    "floats from 0 to 255": (FLOATS * 255, "type is float32"),
    "float64": (FLOATS.astype(np.float64), "type is float64"),
    "16 bits": (photo().astype(np.uint16) * 257, "type is uint16"),
    "int64": (photo().astype(np.int64), "type is int64"),
    "alpha": (np.dstack([photo(), photo()[:, :, :1]]), r"shape is \(70, 110, 4\)"),
    "gray": (np.ascontiguousarray(photo()[:, :, 0]), r"shape is \(70, 110\)"),
    "one channel": (photo()[:, :, :1], r"shape is \(70, 110, 1\)"),
    "tensor": (torch.as_tensor(FLOATS.transpose(2, 0, 1).copy()), "a tensor was given"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_of_another_kind_is_refused_with_a_conversion_that_works(kind: str):
    image, why = WRONG[kind]

    with pytest.raises(ImageError, match=why) as caught:
        as_pixels(image)

    conversion = str(caught.value).rpartition("Convert it: ")[2]
    converted = eval(conversion, {"numpy": numpy, "image": image})
    assert as_pixels(converted) is converted
    if kind not in ("gray", "one channel"):
        assert np.array_equal(converted, photo())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (3, "int was given"),
        ([photo()], r"a list was given.*\[predictor\(one\) for one in images\]"),
        (np.zeros((2, 3, 8, 9), np.uint8), r"shape is \(2, 3, 8, 9\)"),
        (np.zeros((0, 9, 3), np.uint8), "has no pixels"),
        ("nowhere.jpg", r"nowhere\.jpg is to be predicted on, but there is no such file"),
    ],
    ids=["a number", "a list", "a batch", "no pixels", "no file"],
)
def test_what_nobody_can_convert_is_refused_with_what_is_wanted(given: object, why: str):
    with pytest.raises(ImageError, match=why):
        as_pixels(given)


def test_a_file_that_is_no_image_is_named(tmp_path: Path):
    (tmp_path / "a.jpg").write_text("x")

    with pytest.raises(ImageError, match=r"a\.jpg is to be predicted on, but it cannot be read"):
        as_pixels(tmp_path / "a.jpg")


def test_the_error_is_one_of_the_launchers_and_of_pythons():
    assert issubclass(ImageError, LauncherError)
    assert issubclass(ImageError, ValueError)
