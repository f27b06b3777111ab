"""What is only written down ends no start, runs nobody's program and is nobody else's to read."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from launcher.config.request import RunSettings
from launcher.launch.provenance import CUT, MOST_BYTES, provenance
from launcher.launch.record import record_start
from tests.device.recorded import NO_GPU
from tests.values import a_plan, a_request

KEYS = {"SOLVER": {"MAX_ITER": 6}}


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=me", "-c", "user.email=me@here", *arguments], check=True)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one committed file, as the current folder."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    (tmp_path / "notes.txt").write_text("before\n")
    git("add", ".")
    git("commit", "-qm", "first")
    return tmp_path


def diff() -> str:
    return str(provenance(["launcher"], os.environ)["git_diff"])


def test_a_change_is_recorded_with_its_commit(tree: Path):
    (tree / "notes.txt").write_text("after\n")

    found = provenance(["launcher", "a b"], os.environ)

    assert "+after" in found["git_diff"]
    assert len(found["git_commit"]) == 40
    assert found["command"] == "launcher 'a b'"
    assert "torch" in found["packages"]


def test_what_decides_over_the_last_bits_is_recorded():
    found = provenance(["launcher"], {"OMP_NUM_THREADS": "3"})

    assert found["threads"] == "3"
    assert provenance(["launcher"], {})["threads"] == str(os.cpu_count())
    assert found["cpu"] in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else found["cpu"])


def test_bytes_that_are_no_text_do_not_matter(tree: Path):
    (tree / "notes.txt").write_bytes(b"caf\xe9\n")

    assert "+caf\ufffd" in diff()


def test_a_large_diff_is_cut(tree: Path):
    (tree / "notes.txt").write_text("a long line of text\n" * 200_000)

    assert diff().endswith(CUT)
    assert len(diff()) <= MOST_BYTES + len(CUT)


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({"diff.external": "{program}"}, ""),
        ({"core.fsmonitor": "{program}"}, ""),
        ({"diff.mine.textconv": "{program}"}, "*.txt diff=mine"),
        ({"diff.mine.command": "{program}"}, "*.txt diff=mine"),
        ({"filter.mine.clean": "{program}", "filter.mine.required": "true"}, "*.txt filter=mine"),
        ({"filter.mine.process": "{program}", "filter.mine.required": "true"}, "*.txt filter=mine"),
    ],
    ids=["external", "fsmonitor", "textconv", "command", "clean", "process"],
)
def test_no_program_of_the_repository_runs(tree: Path, settings: dict[str, str], attributes: str):
    program = tree / ".git" / "program"
    program.write_text(f"#!/bin/sh\ntouch {tree}/.git/has-run\ncat\n")
    program.chmod(0o755)
    (tree / ".git" / "info" / "attributes").write_text(attributes)
    for name, value in settings.items():
        git("config", name, value.format(program=program))
    (tree / "notes.txt").write_text("after\n")

    assert "+after" in diff()
    assert not (tree / ".git" / "has-run").exists()


def test_a_package_whose_metadata_is_no_text_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_bytes(b"Name: br\xffken\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert "torch" in provenance(["launcher"], os.environ)["packages"]


def test_a_current_folder_that_is_gone_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert provenance(["launcher"], os.environ)["working_directory"] == "unknown (FileNotFoundError)"


def test_only_its_owner_may_read_it(tmp_path: Path):
    plan = a_plan(KEYS, folder=str(tmp_path))

    record_start(a_request({}), plan, NO_GPU, ["launcher", "token=secret"], {}, at=1000.0)

    assert stat.S_IMODE(plan.attempt_paths.provenance.stat().st_mode) == 0o600
    assert json.loads(plan.attempt_paths.provenance.read_text())["command"] == "launcher token=secret"


def test_it_can_be_switched_off(tmp_path: Path):
    plan = a_plan(KEYS, folder=str(tmp_path))

    record_start(a_request({}, run=RunSettings(provenance=False)), plan, NO_GPU, ["launcher"], {}, at=1000.0)

    assert not plan.attempt_paths.provenance.exists()


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_results_are_not_written_through_a_link_that_lies_there(tmp_path: Path, kind: str):
    precious, run = tmp_path / "precious", tmp_path / "run"
    precious.write_text("do not touch")
    plan = a_plan(KEYS, folder=str(run))
    link = plan.paths.evaluation / "inference" / "coco_instances_results.json"
    link.parent.mkdir(parents=True)
    if kind == "hard":
        link.hardlink_to(precious)
    else:
        link.symlink_to(precious)

    record_start(a_request({}), plan, NO_GPU, ["launcher"], {}, at=1000.0)

    assert not os.path.lexists(link)
    assert precious.read_text() == "do not touch"


def test_a_command_with_bytes_that_are_no_text_is_recorded(tmp_path: Path):
    plan = a_plan(KEYS, folder=str(tmp_path))

    record_start(a_request({}), plan, NO_GPU, ["launcher", "run.root=caf\udce9"], {}, at=1000.0)

    assert "caf" in plan.paths.request.read_text()
