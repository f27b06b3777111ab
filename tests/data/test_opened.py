"""Opened images: what each has in it, and which look alike."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from launcher.data.opened import nearly_same
from launcher.data.opening import OpenedImage, open_image, open_images
from launcher.errors import DataError
from tests.data.defects import draw_image


def test_an_image_is_read_to_its_end(tmp_path: Path):
    draw_image(tmp_path / "whole.png", seed=1)
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:400])

    assert open_image(str(tmp_path / "whole.png")).problem == ""
    assert open_image(str(tmp_path / "half.png")).problem
    assert open_image(str(tmp_path / "none.png")).is_missing


def test_the_same_pixels_in_another_file_are_the_same_content(tmp_path: Path):
    draw_image(tmp_path / "a.png", seed=1)
    Image.open(tmp_path / "a.png").save(tmp_path / "a.bmp")
    draw_image(tmp_path / "b.png", seed=2)

    a, again, b = (open_image(str(tmp_path / name)) for name in ("a.png", "a.bmp", "b.png"))

    assert a.pixels == again.pixels != b.pixels


def test_several_processes_give_what_one_gives(tmp_path: Path):
    paths = [str(tmp_path / f"{number}.png") for number in range(70)]
    for number, path in enumerate(paths):
        draw_image(Path(path), seed=number)
    done: list[int] = []

    assert open_images(paths, num_processes=2, note=done.append) == open_images(paths, num_processes=1)
    assert done == [16, 32, 48, 64, 70]


def test_a_killed_process_is_answered(monkeypatch):
    monkeypatch.setattr(Image, "open", lambda _: os.kill(os.getpid(), signal.SIGKILL))

    with pytest.raises(DataError, match=r"was killed.*--no-images"):
        open_images(["a.png"], num_processes=2)


def look(bits: np.ndarray) -> bytes:
    return np.packbits(bits).tobytes()


def test_looks_that_differ_in_few_bits_are_found_among_many():
    bits = np.random.default_rng(0).integers(0, 2, (3000, 128), np.uint8)
    bits[2500] = bits[7]
    bits[2500, [3, 20, 40, 60, 80, 120]] ^= 1
    bits[1200] = bits[8]
    bits[1200, [3, 20, 40, 60, 80, 100, 120]] ^= 1

    assert nearly_same([look(row) for row in bits]) == [(7, 2500)]


def test_flat_images_look_like_none(tmp_path: Path):
    Image.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / "black.png")

    assert open_image(str(tmp_path / "black.png")).look == b""
    assert nearly_same([b"", b"", OpenedImage().look]) == []
