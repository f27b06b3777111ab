from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher.files import beside, leftovers, write_text


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_the_folders_that_it_needs_and_nothing_else(tmp_path: Path):
    write_text(tmp_path / "a" / "b" / "c.json", "zwölf\n")

    assert (tmp_path / "a" / "b" / "c.json").read_text(encoding="utf-8") == "zwölf\n"
    assert names_in(tmp_path / "a" / "b") == ["c.json"]


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from launcher.files import write_text

os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_text(Path(sys.argv[1]), "new")
"""


def test_a_writer_that_is_killed_leaves_the_former_content_and_something_that_can_be_told_from_it(tmp_path: Path):
    file = tmp_path / "fence"
    file.write_text("old")

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(file)], env=environment, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert file.read_text() == "old"
    assert [path.read_text() for path in leftovers(tmp_path)] == ["new"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_former_content_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    file = tmp_path / "metrics.json"
    file.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(file, "new")

    assert file.read_text() == "old"
    assert names_in(tmp_path) == ["metrics.json"]


def test_two_writers_of_one_name_never_share_what_they_write_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a shared disk two processes may have the same number, here they even are the same process."""
    file = tmp_path / "request.yaml"
    both_have_written = threading.Barrier(2)
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (real(descriptor), both_have_written.wait(60)))
    texts = ["a" * 100_000, "b" * 50_000]

    writers = [threading.Thread(target=write_text, args=(file, text)) for text in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert file.read_text() in texts
    assert names_in(tmp_path) == ["request.yaml"]


def test_a_symbolic_link_is_replaced_and_what_it_points_at_stays(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(elsewhere)

    write_text(link, "new")

    assert (link.read_text(), elsewhere.read_text()) == ("new", "old")
    assert not link.is_symlink()


def test_whatever_is_left_of_a_draft_is_removed_however_the_block_ends(tmp_path: Path):
    def interrupted() -> None:
        with beside(tmp_path / "image.png") as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert names_in(tmp_path) == []
