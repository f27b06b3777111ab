"""Which code a job was submitted with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launcher.cluster.code import CodeState, code_state, copy_code, difference, project_files


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a tracked file, a tracked text and an untracked file."""
    folder = tmp_path / "project"
    (folder / "heads").mkdir(parents=True)
    (folder / "heads/mine.py").write_text("first = 1\n")
    (folder / "notes.txt").write_text("note\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "scratch.py").write_text("")
    return folder


def test_code_that_stays_is_the_same(project: Path):
    before = code_state(project)
    (project / "notes.txt").write_text("another\n")

    assert difference(before, code_state(project)) == ""
    assert any(name.endswith("launcher/cluster/code.py") for name in before.files)


def test_an_edited_file_and_another_commit_are_named(project: Path):
    before = code_state(project)
    file = project / "heads/mine.py"
    file.write_text("first = 2\n")
    assert difference(before, code_state(project)) == f"edited: {file}"

    git(project, "commit", "-qam", "second")
    assert difference(before, code_state(project)).startswith(f"commit {before.commit[:10]}, now ")
    file.unlink()
    assert f"edited: {file}" in difference(before, code_state(project))


def test_many_edited_files_are_one_line():
    def state(content: str) -> CodeState:
        return CodeState(commit="", files={f"{name}.py": content for name in "abcdef"})

    assert difference(state("1"), state("2")) == "edited: a.py, b.py, c.py and 3 more"


def test_a_copy_has_the_launcher_and_what_git_tracks_as_it_is_now(project: Path, tmp_path: Path):
    (project / "heads/mine.py").write_text("edited = 1\n")

    launcher, own = map(Path, copy_code(tmp_path / "copy", project))

    assert (launcher / "launcher/cluster/code.py").is_file()
    assert (launcher / "configs/cluster/slurm.yaml").is_file() or (launcher / "launcher/configs").is_dir()
    assert (own / "heads/mine.py").read_text() == "edited = 1\n"
    assert not (own / "scratch.py").exists()


def test_outside_of_a_repository_the_folders_own_python_files_count(tmp_path: Path):
    (tmp_path / "own.py").touch()
    (tmp_path / "data.json").touch()

    assert project_files(tmp_path) == ["own.py"]
