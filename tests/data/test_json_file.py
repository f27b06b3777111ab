"""A file that is no JSON of COCO's shape, or no file, gets a sentence and never a traceback or a wait."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from launcher.data.facts import inspect_dataset
from launcher.data.json_file import read_coco_lists
from launcher.data.plan import plan_dataset
from launcher.errors import DataError
from tests.data.examples import KEYS, coco_content, request_for, write_fruits

LISTS = '"images": [], "annotations": [], "categories": []'


def why_not(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_coco_lists(path)[2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("[" * 100_000, "the JSON is nested too deeply", id="100,000 brackets"),
        pytest.param('{"a":' * 100_000, "the JSON is nested too deeply", id="100,000 objects"),
        pytest.param(
            f'{{{LISTS}, "info": {"9" * 5000}}}', "it has a whole number of more than 4,300 digits", id="5,000 digits"
        ),
        pytest.param(f'{{{LISTS}, "images": [1]}}', 'the key "images" occurs twice', id="a list twice"),
        pytest.param(
            f'{{{LISTS}, "info": {{"id": 1, "id": 2}}}}', 'the key "id" occurs twice', id="a key of an entry twice"
        ),
        pytest.param("nan", "broken JSON at line 1, column 1", id="no JSON"),
        pytest.param('{"images": [], "images": []}', "this is not COCO format", id="the same twice"),
    ],
)
def test_what_no_reader_of_json_takes_or_understands_alike_gets_a_sentence(tmp_path: Path, text: str, reason: str):
    assert why_not(tmp_path / "a.json", text).startswith(reason)


def test_a_key_that_is_repeated_with_the_same_value_is_harmless(tmp_path: Path):
    assert why_not(tmp_path / "a.json", f'{{{LISTS}, "info": {{"id": 1, "id": 1}}}}') == ""


def test_latin_1_is_named_with_its_place_and_the_way_out(tmp_path: Path):
    reason = why_not(tmp_path / "a.json", f'{{{LISTS},\n"name": "noisette grillée"}}'.encode("latin-1"))

    assert "byte 0xe9 in line 2 (ette grillée" in reason
    assert "iconv -f LATIN1 -t UTF-8" in reason


@pytest.mark.parametrize("part", ["json", "images"])
def test_a_number_beyond_every_float_is_refused_where_it_is_a_coordinate(tmp_path: Path, part: str):
    dataset = write_fruits(tmp_path)
    content: dict[str, Any] = coco_content()
    if part == "json":
        content["annotations"][0]["bbox"] = [1, 2, 10**400, 4]
    else:
        content["images"][0]["width"] = 10**400
    (tmp_path / "train.json").write_text(json.dumps(content))

    with pytest.raises(DataError, match=r"1 annotations have no bbox|1 images lack an id, file_name, width"):
        plan_dataset(request_for(dataset), inspect_dataset(dataset, KEYS))


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.json")

    assert read_coco_lists(tmp_path / "pipe.json")[2] == "it cannot be read: it is a named pipe, not a file"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/zero", "it is a device, not a file"),
        ("/", "it is a folder, not a file"),
        (f"/{'x' * 300}.json", "File name too long"),
        ("/a\0b.json", "this cannot be a path: embedded null byte"),
    ],
)
def test_what_is_no_file_is_named(path: str, reason: str):
    assert reason in read_coco_lists(Path(path))[2]


def test_a_folder_that_may_not_be_looked_into_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(path: object, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", denied)

    assert read_coco_lists(tmp_path / "closed" / "a.json")[2] == "it cannot be read: Permission denied"
