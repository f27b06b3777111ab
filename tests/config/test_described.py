from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from launcher.config.described import ask_child, cache_folders, read_fresh, store


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path)}


@pytest.fixture
def stored(environ: dict[str, str], tmp_path: Path) -> Path:
    store({"made_from": {}, "defaults": {"SEED": 1}}, "keys.json", environ)
    return tmp_path / "detectron2-launcher" / "keys.json"


def test_what_is_stored_is_read_back_from_a_folder_of_ones_own(stored: Path):
    assert read_fresh(stored) == {"made_from": {}, "defaults": {"SEED": 1}}
    assert stored.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_can_write_to_is_neither_read_nor_written(
    stored: Path, environ: dict[str, str], mode: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    stored.parent.chmod(mode)

    store({"made_from": {}}, "other.json", environ)

    assert read_fresh(stored) is None
    assert not stored.with_name("other.json").exists()


def test_a_folder_behind_a_symbolic_link_is_not_ours(stored: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(stored.parent)

    assert read_fresh(tmp_path / "link" / stored.name) is None


def test_a_folder_of_another_user_is_not_read(stored: Path, monkeypatch: pytest.MonkeyPatch):
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)

    assert read_fresh(stored) is None


@pytest.mark.parametrize(
    "content", [[], {}, {"made_from": {}}, {"made_from": {}, "checksum": 1}, {"made_from": [], "checksum": "x"}]
)
def test_json_of_another_shape_or_without_its_checksum_is_made_anew(stored: Path, content: Any):
    stored.write_text(json.dumps(content))

    assert read_fresh(stored) is None


def test_a_changed_value_or_a_nest_without_end_is_made_anew(stored: Path):
    whole = stored.read_text()
    stored.write_text(whole.replace('"SEED": 1', '"SEED": 2'))
    changed = read_fresh(stored)
    stored.write_text("[" * 100_000)

    assert changed is None
    assert read_fresh(stored) is None


@pytest.fixture
def _nowhere_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)


@pytest.mark.usefixtures("_nowhere_for_temporary_files")
def test_without_a_folder_for_temporary_files_the_cache_is_ones_own_or_none(environ: dict[str, str], tmp_path: Path):
    assert cache_folders(environ) == [tmp_path / "detectron2-launcher"]
    assert cache_folders({}) == []


CHILD = """
import os, sys
from pathlib import Path
print("printed", os.environ["CUDA_VISIBLE_DEVICES"] == "")
print("an error", file=sys.stderr)
Path(sys.argv[1]).write_text("answer " * 20_000 + sys.argv[2])
sys.exit(3)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    return program


@pytest.mark.usefixtures("child", "_nowhere_for_temporary_files")
def test_a_child_answers_apart_from_what_it_prints_and_needs_no_folder():
    answer = ask_child("child", ["end"], environ=os.environ, deadline_s=20)

    assert answer.status == 3
    assert answer.text == "answer " * 20_000 + "end"
    assert answer.printed.split("\n")[:2] == ["printed True", "an error"]


def test_a_child_that_takes_too_long_is_ended(child: Path):
    child.write_text("import time; time.sleep(60)")

    with pytest.raises(subprocess.TimeoutExpired):
        ask_child("child", [], environ=os.environ, deadline_s=0.5)


def test_a_child_that_writes_nothing_has_no_answer(child: Path):
    child.write_text("raise SystemExit(0)")

    assert ask_child("child", [], environ=os.environ, deadline_s=20).text == ""
