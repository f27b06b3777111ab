"""Reading entries from a file that may have changed since its index was made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.data.index.build import build_index
from launcher.data.index.records import EntryReader, FileChangedError

CONTENT = {
    "images": [{"id": one, "file_name": f"{one}.jpg", "width": 60, "height": 40} for one in (5, 3)],
    "annotations": [
        {"id": one, "image_id": (3, 5)[one % 2], "category_id": 4, "bbox": [one, 2, 3, 4]} for one in range(5)
    ],
    "categories": [{"id": 4, "name": "ü"}],
}


def opened(file: Path) -> EntryReader:
    file.write_text(json.dumps(CONTENT))
    columns = build_index(file, num_processes=1).columns
    assert columns is not None
    return EntryReader(file, columns)


def test_entries_come_by_the_order_of_image_ids(tmp_path: Path):
    entries = opened(tmp_path / "train.json")

    assert [entries.read(place) for place in (0, 1)] == [
        (CONTENT["images"][1], [one for one in CONTENT["annotations"] if one["image_id"] == 3]),
        (CONTENT["images"][0], [one for one in CONTENT["annotations"] if one["image_id"] == 5]),
    ]


@pytest.mark.parametrize(("old", "new"), [("[1, 2", "[9, 2"), ('"5.jpg"', '"6.jpg"')])
def test_an_entry_that_was_changed_in_place_is_never_given_out(tmp_path: Path, old: str, new: str):
    file = tmp_path / "train.json"
    entries = opened(file)
    with open(file, "r+") as there:
        text = there.read()
        there.seek(0)
        there.write(text.replace(old, new))

    assert entries.read(0)[0]["id"] == 3
    with pytest.raises(FileChangedError, match=r"has changed since it was indexed.*another run"):
        entries.read(1)


@pytest.mark.parametrize("size", [0, 100, 300])
def test_a_file_that_was_cut_off_is_noticed(tmp_path: Path, size: int):
    file = tmp_path / "train.json"
    entries = opened(file)
    with open(file, "r+") as there:
        there.truncate(size)

    with pytest.raises(FileChangedError):
        entries.read(1)


def test_a_file_that_another_replaces_is_read_to_the_end(tmp_path: Path):
    file = tmp_path / "train.json"
    entries = opened(file)
    (tmp_path / "new.json").write_text("{}")
    (tmp_path / "new.json").replace(file)

    assert entries.read(1)[0]["id"] == 5
