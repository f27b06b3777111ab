"""An index as a file: what is damaged or cannot be is no index."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.data.index.build import build_index
from launcher.data.index.columns import DamagedIndexError, Index, read_index, write_index

DIGEST_SIZE = 32


@pytest.fixture
def index(tmp_path: Path) -> Index:
    file = tmp_path / "train.json"
    annotations = [{"id": one, "image_id": one % 3, "category_id": 4, "bbox": [1, 2, 3, 4]} for one in range(9)]
    images = [{"id": one, "file_name": f"{one}.jpg", "width": 60, "height": 40} for one in range(3)]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 4, "name": "ü"}]}))
    return build_index(file, num_processes=1)


def test_what_was_written_is_read(index: Index, tmp_path: Path):
    path = tmp_path / "a.index"
    write_index(index, path)

    read = read_index(path, index.content)

    assert read.facts == index.facts
    assert bytes(read.listed) == index.listed
    assert read.columns is not None
    assert index.columns is not None
    assert read.columns.images.id.tolist() == [0, 1, 2]
    assert read.columns.annotations.start.tolist() == index.columns.annotations.start.tolist()
    assert os.stat(path).st_mode & 0o077 == 0


def test_a_byte_that_changed_anywhere_is_noticed(index: Index, tmp_path: Path):
    path = tmp_path / "a.index"
    write_index(index, path)
    sound = path.read_bytes()

    for place in range(0, len(sound), max(1, len(sound) // 400)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        with pytest.raises(DamagedIndexError):
            read_index(path, index.content)


@pytest.mark.parametrize("length", [0, 1, 8, 40, 100, 1000, -1, -32, -33])
def test_a_file_that_is_cut_off_is_noticed(index: Index, tmp_path: Path, length: int):
    path = tmp_path / "a.index"
    write_index(index, path)
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(DamagedIndexError):
        read_index(path, index.content)


def test_an_index_of_another_file_is_refused(index: Index, tmp_path: Path):
    path = tmp_path / "a.index"
    write_index(index, path)

    with pytest.raises(DamagedIndexError, match="another file"):
        read_index(path, "0" * 64)


@pytest.mark.parametrize("mode", [0o622, 0o602, 0o666])
def test_an_index_that_others_may_have_written_is_refused(index: Index, tmp_path: Path, mode: int):
    path = tmp_path / "a.index"
    write_index(index, path)
    path.chmod(mode)

    with pytest.raises(DamagedIndexError, match="written by others"):
        read_index(path, index.content)


def _with_header(sound: bytes, **changed: Any) -> bytes:
    size = int.from_bytes(sound[8:16], "little")
    header = json.dumps({**json.loads(sound[16 : 16 + size]), **changed}).encode()
    padded = header + b" " * (size - len(header))
    body = sound[:8] + len(padded).to_bytes(8, "little") + padded + sound[16 + size : -DIGEST_SIZE]
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 0},
        {"facts": {}},
        {"facts": 5},
        {"arrays": {}},
        {"arrays": {"listed": 10**12}},
        {"arrays": {"listed": -1}},
        {"arrays": {"listed": "x"}},
        {"arrays": {"os.system": 1}},
        {"content_size": 10},
        {"content_size": "x"},
    ],
)
def test_a_hostile_header_with_a_true_digest_is_refused(index: Index, tmp_path: Path, changed: dict[str, Any]):
    path = tmp_path / "a.index"
    write_index(index, path)
    path.write_bytes(_with_header(path.read_bytes(), **changed))

    with pytest.raises(DamagedIndexError):
        read_index(path, index.content)


@pytest.mark.parametrize(
    ("table", "name", "values"),
    [
        ("images", "start", [-1, 0, 0]),
        ("images", "start", [2**62, 0, 0]),
        ("images", "length", [0, 1, 1]),
        ("images", "length", [-5, 1, 1]),
        ("images", "end", [3, 2, 9]),
        ("images", "end", [3, 6, 8]),
        ("images", "end", [-3, 6, 9]),
        ("images", "end", [3, 6, 2**62]),
        ("images", "width", [1, 2]),
        ("annotations", "start", [2**40] * 9),
        ("annotations", "length", [2**31 - 1] * 9),
        ("annotations", "flags", [1]),
    ],
)
def test_columns_that_point_out_of_the_file_are_refused(
    index: Index, tmp_path: Path, table: str, name: str, values: list[int]
):
    assert index.columns is not None
    wrong = replace(getattr(index.columns, table), **{name: np.array(values)})
    path = tmp_path / "a.index"
    write_index(replace(index, columns=replace(index.columns, **{table: wrong})), path)

    with pytest.raises(DamagedIndexError):
        read_index(path, index.content)
