"""`launcher diff` and `launcher reproduce`: what two runs, or a run and this machine, do not share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.main import main
from launcher.config.keys import Keys
from launcher.config.request import EmaSettings
from launcher.run.paths import RunPaths
from tests.recorded_runs import KEYS, record_run
from tests.values import NO_DATA, a_request, finished_after


def record(
    folder: Path, *, metrics: dict[str, Any], provenance: dict[str, Any], data: int = 7, **keys: Any
) -> RunPaths:
    changed = {name.replace("__", "."): value for name, value in keys.items() if name[:1].isupper()}
    nested = Keys.of_leaves({**dict(Keys(KEYS).leaves()), **changed}.items()).nested()
    own = {name: value for name, value in keys.items() if not name[:1].isupper()}
    paths = record_run(
        folder,
        finished_after(100, metrics=metrics),
        request=a_request(nested, **own),
        data=replace(NO_DATA, train_checksum=data),
    )
    paths.attempt(1).provenance.write_text(json.dumps(provenance))
    return paths


PROVENANCE = {
    "command": "launcher train experiment=demo",
    "working_directory": "/home/me",
    "python": "3.11.7",
    "cpu": "Some CPU",
    "packages": {"torch": "2.4", "numpy": "2.0"},
    "git_commit": "a" * 40,
    "git_diff": "",
    "host": "one",
}


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs/demo"
    record(folder / "one", metrics={"bbox/AP": 30.123456, "bbox/AP50": 50.0}, provenance=PROVENANCE)
    later = {**PROVENANCE, "packages": {"torch": "2.5", "numpy": "2.0"}, "git_diff": "+a\n-b", "host": "two"}
    record(
        folder / "other",
        metrics={"bbox/AP": 31.0, "bbox/AP50": 50.0},
        provenance=later,
        data=8,
        SOLVER__BASE_LR=0.2,
        ema=EmaSettings(decay=0.9),
    )
    return folder


def rows_of(text: str) -> list[list[str]]:
    return [line.split("  ") for line in text.splitlines() if line]


@pytest.mark.usefixtures("outputs")
def test_everything_that_differs_is_shown_and_nothing_else(capsys: pytest.CaptureFixture[str]):
    assert main(["diff", "one", "other"]) == 0

    shown = [[cell.strip() for cell in row if cell.strip()] for row in rows_of(capsys.readouterr().out)]
    assert shown == [
        ["settings", "demo/one", "demo/other"],
        ["SOLVER.BASE_LR", "0.1", "0.2"],
        ["ema.decay", "0.0", "0.9"],
        ["metrics", "demo/one", "demo/other"],
        ["bbox/AP", "30.1235", "31"],
        ["versions", "demo/one", "demo/other"],
        ["torch", "2.4", "2.5"],
        ["code", "demo/one", "demo/other"],
        ["uncommitted changes", "-", "2 lines of diff"],
        ["data", "demo/one", "demo/other"],
        ["checksum of the training annotations", "7", "8"],
    ]


def test_two_runs_of_the_same_say_so(outputs: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["diff", "one", str(outputs / "one")]) == 0

    assert capsys.readouterr().out == "the same in both: settings, metrics, versions, code, data\n"


@pytest.mark.usefixtures("outputs")
def test_a_program_gets_the_differences_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["diff", "one", "other", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["versions"] == [{"name": "torch", "one": "2.4", "other": "2.5"}]


@pytest.mark.usefixtures("outputs")
def test_a_recipe_has_command_commit_and_packages_and_what_is_another_one_here(capsys: pytest.CaptureFixture[str]):
    assert main(["reproduce", "other"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "command   launcher train experiment=demo"
    assert f"commit    {'a' * 40}, and 2 lines of diff, in provenance.json" in lines
    assert "seed      1" in lines
    assert "  torch==2.5" in lines
    here = lines[lines.index("Here and now other than there, so weights may differ:") :]
    assert any(line.startswith("  torch: 2.5 there, ") for line in here)
    assert any(line.startswith("  cpu: Some CPU there, ") for line in here)
    assert not any(line.startswith("  threads: ") for line in here)  # which was not recorded
    assert lines[-1].endswith("launcher reproduce demo/other --run")


def test_a_run_that_was_changed_on_the_way_says_by_what(outputs: Path, capsys: pytest.CaptureFixture[str]):
    paths = RunPaths(outputs / "one")
    plan = json.loads(paths.attempt(1).plan.read_text())
    for number, total in ((1, 100), (2, 200)):
        paths.attempt(number).folder.mkdir(exist_ok=True)
        paths.attempt(number).plan.write_text(json.dumps({**plan, "identity": {"SOLVER": {"MAX_ITER": total}}}))

    assert main(["reproduce", "one"]) == 0

    assert "Changed on the way: SOLVER.MAX_ITER." in capsys.readouterr().out


@pytest.mark.usefixtures("outputs")
def test_what_is_not_finished_cannot_be_compared_with(capsys: pytest.CaptureFixture[str]):
    assert main(["reproduce", "one", "--run"]) == 2

    assert "has no final weights to compare with. Train it to its end: launcher resume demo/one" in (
        capsys.readouterr().err
    )


def test_a_folder_that_is_there_is_not_trained_in(outputs: Path, capsys: pytest.CaptureFixture[str]):
    RunPaths(outputs / "one").checkpoints.mkdir(exist_ok=True)
    RunPaths(outputs / "one").final_weights.touch()

    assert main(["reproduce", "one", "--run", str(outputs)]) == 2

    assert f"{outputs} is there already. Name another folder" in capsys.readouterr().err
