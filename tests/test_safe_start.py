"""What lies in the current folder replaces nothing that is installed, in none of our processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.safe_start import ABOVE, import_path, python_command, without_current_folder

OF_PYTHON = ("random", "types", "runpy", "multiprocessing", "collections")
OF_OTHERS = ("yaml", "torch", "launcher")
PROBE = """
import json, multiprocessing, random, sys, launcher
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=json.dumps, args=({},))
    process.start(); process.join()
    print(json.dumps([random.__file__, launcher.__file__, sys.path, sys.argv[1:], process.exitcode]))
"""


@pytest.fixture
def full_of_traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files and folders that end whoever imports them."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in (*OF_PYTHON, *OF_OTHERS):
        (folder / f"{name}.py").write_text(f"raise SystemExit('imported {name}')")
    (folder / "json").mkdir()
    (folder / "json" / "__init__.py").write_text("raise SystemExit('imported json')")
    (folder / "mine.py").write_text(PROBE)
    monkeypatch.chdir(folder)
    return folder


def in_child(environ: dict[str, str]) -> Any:
    done = subprocess.run(
        [*python_command("mine"), "one", "two"], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", ["", os.pathsep, f"{os.pathsep}/nowhere"], ids=["none", "empty", "empty part"])
def test_a_child_and_its_children_import_what_is_installed_and_find_your_own_last(full_of_traps: Path, path: str):
    random_file, launcher_file, search_path, arguments, status = in_child({**os.environ, "PYTHONPATH": path})

    assert Path(random_file).parent != full_of_traps
    assert Path(launcher_file).parent.parent == Path(ABOVE)
    assert search_path[-1] == str(full_of_traps)
    assert arguments == ["one", "two"]
    assert status == 0


def test_the_front_door_imports_what_is_installed_too(full_of_traps: Path):
    for name in ("launcher", "runpy", "collections", "types"):  # which Python imports before anything of ours
        (full_of_traps / f"{name}.py").unlink()

    done = subprocess.run(
        [sys.executable, "-m", "launcher", "--version"],
        env={**os.environ, "PYTHONPATH": ABOVE},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_that_is_named_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".")

    assert import_path([str(tmp_path), "/lib", ABOVE]) == [str(tmp_path), "/lib", ABOVE]


def test_the_launcher_that_started_a_child_comes_before_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other"
    (other / "launcher").mkdir(parents=True)
    (other / "launcher" / "__init__.py").write_text("")

    assert import_path([str(other), "/lib"]) == [ABOVE, str(other), "/lib", str(tmp_path)]


def test_before_there_was_an_option_the_code_itself_takes_the_folder_away():
    started: list[Any] = []
    start = without_current_folder(lambda *arguments: started.append(arguments))

    start(b"python", [b"python", "-c", "from multiprocessing.spawn import spawn_main", "--fork"], [3])

    ((_, command, descriptors),) = started
    assert (
        command[2] == "import sys; sys.path[:] = filter(None, sys.path); from multiprocessing.spawn import spawn_main"
    )
    assert (command[3:], descriptors) == (["--fork"], [3])
