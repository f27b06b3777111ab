"""Which index is opened, made, waited for or refused."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from launcher.config.request import IndexChoice
from launcher.data.index import identity, store
from launcher.data.index.store import IndexStore, index_store

LONG_AGO = 1_000_000_000


def write(file: Path, num_images: int = 3, *, written_s: int = LONG_AGO) -> Path:
    """A file that has been left alone since then."""
    annotations = [
        {"id": one, "image_id": one % num_images, "category_id": 4, "bbox": [1, 2, 3, 4]} for one in range(9)
    ]
    images = [{"id": one, "file_name": f"{one}.jpg", "width": 60, "height": 40} for one in range(num_images)]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 4, "name": "a"}]}))
    os.utime(file, (written_s, written_s))
    return file


def store_in(*folders: Path) -> tuple[IndexStore, list[str]]:
    said: list[str] = []
    return IndexStore(folders=folders, fewest_bytes=0, announce=said.append), said


def num_images(indexes: IndexStore, file: Path) -> int | None:
    opened = indexes.open(file)
    return opened.index.facts.num_images if opened and opened.index else None


def test_an_index_is_made_once(tmp_path: Path):
    file = write(tmp_path / "train.json")
    indexes, said = store_in(tmp_path / "cache")

    first, second = indexes.open(file), indexes.open(file)

    assert first is not None
    assert second is not None
    assert first.facts == second.facts
    assert first.facts.size == os.path.getsize(first.facts.path) > 0
    assert [line.partition(" (")[0] for line in said] == [f"indexing {file}"]


def test_a_file_that_changes_gets_another_index(tmp_path: Path):
    file = write(tmp_path / "train.json", 3)
    indexes, said = store_in(tmp_path / "cache")
    before = num_images(indexes, file)

    write(file, 5)

    assert (before, num_images(indexes, file)) == (3, 5)
    assert len(said) == 2


def test_a_change_that_leaves_size_and_times_is_noticed_while_the_file_is_young(tmp_path: Path):
    now = time.time_ns()
    file = write(tmp_path / "train.json")
    text = file.read_text()
    os.utime(file, ns=(now, now))
    indexes, _ = store_in(tmp_path / "cache")
    first = indexes.open(file)

    file.write_text(text.replace("0.jpg", "7.jpg"))
    os.utime(file, ns=(now, now))
    second = indexes.open(file)

    assert first is not None
    assert second is not None
    assert first.facts.content != second.facts.content


def test_a_file_that_has_been_left_alone_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity, "_SETTLED_S", -60.0)
    file = write(tmp_path / "train.json")
    indexes, _ = store_in(tmp_path / "cache")
    indexes.open(file)
    monkeypatch.setattr(identity, "read_content", lambda _: pytest.fail("it was read"))

    assert num_images(indexes, file) == 3


@pytest.mark.parametrize("damage", [b"", b"\0", b"{}", b'{"digest": "x", "stamp": {}, "taken_s": 0}', b"[" * 100_000])
def test_a_damaged_note_on_the_content_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes):
    monkeypatch.setattr(identity, "_SETTLED_S", -60.0)
    file = write(tmp_path / "train.json")
    indexes, _ = store_in(tmp_path / "cache")
    indexes.open(file)
    (note,) = (tmp_path / "cache").glob("*.content")
    note.write_bytes(damage)

    assert num_images(indexes, file) == 3


@pytest.mark.parametrize("damage", [b"", b"D2LINDEX", b"\0" * 5000])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes):
    file = write(tmp_path / "train.json")
    indexes, said = store_in(tmp_path / "cache")
    first = indexes.open(file)
    assert first is not None
    Path(first.facts.path).write_bytes(damage)

    assert num_images(indexes, file) == 3
    assert len(said) == 2


def test_two_that_come_first_make_one_index(tmp_path: Path):
    file = write(tmp_path / "train.json")
    both = [store_in(tmp_path / "cache") for _ in range(2)]
    found: list[int | None] = []

    threads = [threading.Thread(target=lambda one=one: found.append(num_images(one[0], file))) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [3, 3]
    assert sorted(line.split()[0] for _, said in both for line in said) in (["indexing"], ["indexing", "waiting"])


def test_the_next_folder_is_taken_where_the_first_cannot_be_written(tmp_path: Path):
    file = write(tmp_path / "train.json")
    (tmp_path / "taken").write_text("a file")
    indexes, _ = store_in(tmp_path / "taken" / "cache", tmp_path / "cache")

    opened = indexes.open(file)

    assert opened is not None
    assert opened.facts.path.startswith(str(tmp_path / "cache"))


def test_a_folder_that_others_can_write_is_not_used(tmp_path: Path):
    file = write(tmp_path / "train.json")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    indexes, _ = store_in(shared)

    opened = indexes.open(file)

    assert opened is not None
    assert opened.index is None
    assert "written by you and by nobody else" in opened.facts.unusable
    assert list(shared.iterdir()) == []


def test_a_full_disk_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = write(tmp_path / "train.json")
    monkeypatch.setattr(store, "_SMALLER", 1e-18)
    indexes, _ = store_in(tmp_path / "cache")

    opened = indexes.open(file)

    assert opened is not None
    assert opened.index is None
    assert "MB free" in opened.facts.unusable
    assert list((tmp_path / "cache").glob("*.index")) == []


@pytest.mark.parametrize("text", ['{"images": [NaN]}', "\ufeff{}", "[]", "", "{", '{"images": []}'])
def test_a_file_that_is_no_strict_coco_format_has_no_index(tmp_path: Path, text: str):
    file = tmp_path / "train.json"
    file.write_text(text)
    indexes, _ = store_in(tmp_path / "cache")

    opened = indexes.open(file)

    assert opened is not None
    assert opened.index is None
    assert opened.facts.unusable


def test_a_file_that_is_not_there_has_no_index(tmp_path: Path):
    indexes, said = store_in(tmp_path / "cache")

    opened = indexes.open(tmp_path / "absent.json")

    assert opened is None or opened.index is None
    assert said == []


def test_what_nobody_has_opened_for_long_is_removed(tmp_path: Path):
    cache = tmp_path / "cache"
    indexes, _ = store_in(cache)
    old = indexes.open(write(tmp_path / "old.json", 3))
    assert old is not None
    os.utime(old.facts.path, (LONG_AGO, LONG_AGO))
    (cache / ".x.index.1234.tmp").write_bytes(b"")
    os.utime(cache / ".x.index.1234.tmp", (LONG_AGO, LONG_AGO))

    new = indexes.open(write(tmp_path / "new.json", 4))

    assert new is not None
    assert [str(path) for path in cache.glob("*.index")] == [new.facts.path]
    assert list(cache.glob(".*.tmp")) == []


@pytest.mark.parametrize(("choice", "is_made"), [(IndexChoice.auto, False), (IndexChoice.on, True)])
def test_only_large_files_are_indexed_unless_asked_for(tmp_path: Path, choice: IndexChoice, is_made: bool):
    file = write(tmp_path / "train.json")
    indexes = index_store(choice, {"XDG_CACHE_HOME": str(tmp_path)}, print)
    assert indexes is not None

    assert (indexes.open(file) is not None) == is_made


def test_no_index_where_none_is_wanted():
    assert index_store(IndexChoice.off, {}, print) is None
