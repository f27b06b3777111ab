"""The index of a file against what a JSON reader finds in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings

from launcher.data.coco_file import CocoFacts, read_coco, with_images
from launcher.data.index.build import build_index, decode_entry
from launcher.data.index.columns import listed_images
from launcher.data.index.scan import NotIndexableError
from tests.data.index.coco_texts import coco_texts, entries, odd_entries

IN_ONE_FOLDER = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def facts_by_index(file: Path, images: Path) -> CocoFacts:
    index = build_index(file, num_processes=1)
    asked = CocoFacts(name="a_train", split="train", json=str(file), images=str(images))
    return with_images(asked, index.facts, listed_images(index), check=True)


@IN_ONE_FOLDER
@given(text=coco_texts(entries()) | coco_texts(odd_entries()))
def test_an_index_knows_what_reading_the_file_finds_or_there_is_none(text: bytes, tmp_path: Path):
    file = tmp_path / "train.json"
    file.write_bytes(text)
    plain = read_coco("a_train", "train", file, tmp_path)

    try:
        indexed = facts_by_index(file, tmp_path)
    except NotIndexableError:
        event("not indexable")
        return

    event("has flaws" if plain.flaws else "sound")
    assert indexed == plain


@IN_ONE_FOLDER
@given(text=coco_texts(entries()))
def test_where_entries_lie_is_found_however_the_file_is_laid_out(text: bytes, tmp_path: Path):
    file = tmp_path / "train.json"
    file.write_bytes(text)
    try:
        content = json.loads(text)
        columns = build_index(file, num_processes=1).columns
    except (ValueError, NotIndexableError):
        return
    if columns is None:
        return

    images = [json.loads(text[s : s + n]) for s, n in zip(columns.images.start, columns.images.length, strict=True)]
    starts, lengths = columns.annotations.start, columns.annotations.length
    annotations = [json.loads(text[s : s + n]) for s, n in zip(starts, lengths, strict=True)]
    assert images == sorted(content["images"], key=lambda image: image["id"])
    by_image = sorted(content["annotations"], key=lambda one: one["image_id"])
    assert annotations == by_image


def test_several_processes_find_what_one_finds(tmp_path: Path):
    file = tmp_path / "train.json"
    annotations = [
        {"id": one, "image_id": one % 7, "category_id": 1 + one % 2, "bbox": [one, 2, 3, 0 if one % 5 else 4]}
        for one in range(200)
    ]
    images = [{"id": one, "file_name": f"{one}.jpg", "width": 60, "height": 40} for one in range(7)]
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))

    alone, together = build_index(file, num_processes=1), build_index(file, num_processes=3)

    assert together.facts == alone.facts
    assert {flaw.code for flaw in alone.facts.flaws_of_annotations} >= {"box.degenerate", "box.outside"}
    assert together.columns is not None
    assert alone.columns is not None
    assert together.columns.annotations.start.tolist() == alone.columns.annotations.start.tolist()


def test_an_id_that_two_processes_see_once_each_is_seen_twice(tmp_path: Path):
    file = tmp_path / "train.json"
    annotations = [{"id": one % 99, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]} for one in range(100)]
    images = [{"id": 1, "file_name": "1.jpg", "width": 60, "height": 40}]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}))

    index = build_index(file, num_processes=4)

    assert index.columns is None
    assert index.unusable == "two annotations have the same id"
    assert "annotation.duplicate_id" in {flaw.code for flaw in index.facts.flaws_of_annotations}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a" :1, "a":2}',
        '{"a": {"b": 1, "b": 2}}',
        '{"segmentation": {"size": [1, 1], "size": [2, 2]}}',
        '{"a:b": 1, "c": "x:y", "c": "x:z"}',
        '{"c": "x:y", "a": 1, "a": 2}',
        '{"c": "x\\u003ay", "a": 1, "a": 2}',
        '{"c\\u003a": 5, "a": 1, "a": 2}',
        '{"segmentation": {"counts": "1:2", "size": 1, "size": 2}, "c": "\\u003a"}',
    ],
)
def test_a_key_that_occurs_twice_is_never_overlooked(text: str):
    with pytest.raises(NotIndexableError, match="occurs twice"):
        decode_entry(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"b": "x:y", "a": 1, "a": 1}',
        '{"a": [1.5, -0.0, 1e999], "b": "x:y"}',
        '{"a": 123456789012345678901234567890}',
        "[]",
    ],
)
def test_an_entry_is_decoded_as_json_decodes_it(text: str):
    decoded = decode_entry(text.encode())

    assert repr(decoded) == repr(json.loads(text))
