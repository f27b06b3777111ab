"""When a file's content is taken to be what it was."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from launcher.data.index import identity
from launcher.data.index.identity import ChangedError, Stamp, content_of, read_content


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A file system that gives every write the same time: the first number of this list."""
    time_ns = [time.time_ns()]
    seen = Stamp.of

    def stamp(status: os.stat_result) -> Stamp:
        return Stamp(inode=1, size=seen(status).size, modified_ns=time_ns[0], changed_ns=time_ns[0])

    monkeypatch.setattr(Stamp, "of", stamp)
    return time_ns


def test_a_write_within_the_same_tick_of_the_clock_is_noticed(tmp_path: Path, coarse: list[int]):
    assert coarse
    file = tmp_path / "a.json"
    file.write_bytes(b"one")
    first = content_of(file, tmp_path)
    file.write_bytes(b"two")

    assert (first.digest, content_of(file, tmp_path).digest) == (digest(b"one"), digest(b"two"))


def test_a_file_that_was_left_alone_is_read_once(tmp_path: Path, coarse: list[int], monkeypatch: pytest.MonkeyPatch):
    coarse[0] -= 10_000_000_000
    file = tmp_path / "a.json"
    file.write_bytes(b"one")
    first = content_of(file, tmp_path)
    monkeypatch.setattr(identity, "read_content", lambda _: pytest.fail("it was read again"))

    assert content_of(file, tmp_path) == first


@pytest.mark.parametrize("change", ["content", "size", "replaced", "touched"])
def test_every_later_change_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str):
    monkeypatch.setattr(identity, "_SETTLED_S", -3600.0)
    file = tmp_path / "a.json"
    file.write_bytes(b"one")
    content_of(file, tmp_path)
    time.sleep(0.02)

    if change == "replaced":
        (tmp_path / "new").write_bytes(b"two")
        os.utime(tmp_path / "new", ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
        (tmp_path / "new").replace(file)
    elif change == "touched":
        file.touch()
    else:
        file.write_bytes(b"two" if change == "content" else b"longer")

    assert content_of(file, tmp_path).digest == digest(file.read_bytes())


def test_another_path_of_the_same_file_shares_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity, "_SETTLED_S", -3600.0)
    file = tmp_path / "a.json"
    file.write_bytes(b"one")
    (tmp_path / "b.json").symlink_to(file)
    content_of(file, tmp_path)
    monkeypatch.setattr(identity, "read_content", lambda _: pytest.fail("it was read again"))

    assert content_of(tmp_path / "b.json", tmp_path).digest == digest(b"one")


def test_a_file_that_is_written_while_it_is_read_has_no_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "a.json"
    file.write_bytes(b"x" * 100)
    monkeypatch.setattr(identity, "_CHUNK", 10)
    stamps = iter([1, 2])
    monkeypatch.setattr(Stamp, "of", lambda _: next(stamps))

    with pytest.raises(ChangedError, match="changed while it was read"):
        read_content(file)


def test_a_folder_that_cannot_be_written_costs_reading_again(tmp_path: Path, coarse: list[int]):
    coarse[0] -= 10_000_000_000
    file = tmp_path / "a.json"
    file.write_bytes(b"one")

    assert content_of(file, tmp_path / "a.json").digest == digest(b"one")
