from __future__ import annotations

from pathlib import Path

import pytest

from launcher.run.journal import Journal, entries_in, keys_in, stamp_of


def write(folder: Path, *, attempt: int = 1, rank: int = 0, **entries: object) -> Path:
    with Journal(folder, attempt=attempt, rank=rank) as journal:
        for key, value in entries.items():
            journal.add(key, value)
    return next(folder.glob(f"{attempt:06d}.{rank}.journal"))


def test_what_was_added_is_read_back_whoever_added_it(tmp_path: Path):
    write(tmp_path, a={"x": [1, 0.1]}, b="\n\t")
    write(tmp_path, rank=1, c=None)

    assert dict(entries_in(tmp_path)) == {"a": {"x": [1, 0.1]}, "b": "\n\t", "c": None}
    assert keys_in(tmp_path) == {"a", "b", "c"}


def test_of_two_entries_of_a_key_that_of_the_later_attempt_comes_last(tmp_path: Path):
    write(tmp_path, attempt=10, a="new")
    write(tmp_path, attempt=9, a="old")

    assert [value for _, value in entries_in(tmp_path)] == ["old", "new"]


@pytest.mark.parametrize(
    "damage",
    [lambda text: text[:-3], lambda text: text[:-1], lambda text: text.replace(b"second", b"secOnd")],
    ids=["cut off", "without its end", "a letter changed"],
)
def test_an_entry_that_is_cut_off_or_damaged_is_none(tmp_path: Path, damage):
    file = write(tmp_path, a="first", b="second")

    file.write_bytes(damage(file.read_bytes()))

    assert keys_in(tmp_path) == {"a"}


def test_what_follows_a_damaged_entry_still_counts(tmp_path: Path):
    file = write(tmp_path, a="first", b="second")

    file.write_bytes(file.read_bytes().replace(b"first", b"fi\0st"))

    assert keys_in(tmp_path) == {"b"}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path):
    assert keys_in(tmp_path / "missing") == frozenset()


def test_a_file_that_changes_gets_another_stamp(tmp_path: Path):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"1")
    before = stamp_of(file)
    file.write_bytes(b"12")

    assert stamp_of(file) != before
    assert stamp_of(file) == stamp_of(file)
