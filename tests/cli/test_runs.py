"""`launcher runs` and what all commands about runs have in common."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.cli.main import main
from launcher.launch.folder_lock import lock_folder
from launcher.run import codes
from tests.recorded_runs import beat_in, begin, plan_a_run, record_run, stopped_after, with_max_iter, write_metrics
from tests.values import failed_with, finished_after


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs, each in another state."""
    folder = tmp_path / "outputs"
    write_metrics(
        record_run(folder / "demo/good", replace(finished_after(100, metrics={"bbox/AP": 30.0}), seconds=7260.0)),
        {"bbox/AP": 31.5, "segm/AP": 1.0},
        {"bbox/AP": 30.0, "segm/AP": 2.0},
    )
    write_metrics(record_run(folder / "demo/bad", stopped_after(50)), {"bbox/AP": 9.0, "segm/AP": 12.0})
    record_run(folder / "demo/nan", failed_with(codes.DIVERGED, iterations=3))
    plan_a_run(folder / "demo/later", with_max_iter(7))
    monkeypatch.chdir(tmp_path)
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def column(text: str, number: int = 0) -> list[str]:
    return [line.split("  ")[number].strip() for line in text.splitlines()[1:]]


@pytest.mark.usefixtures("outputs")
def test_every_run_has_a_line_with_its_state_progress_and_metric(capsys: pytest.CaptureFixture[str]):
    text = printed(capsys, "runs")

    head, *lines = text.splitlines()
    assert head.split() == ["run", "state", "iteration", "metric", "latest", "best", "device", "age", "duration"]
    by_name = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert by_name["demo/good"].startswith("finished 100/100 bbox/AP 30 31.5 cpu")
    assert by_name["demo/good"].endswith("2 h 1 min")
    assert by_name["demo/bad"].startswith("stopped 50/100 bbox/AP 9 9 cpu")
    assert by_name["demo/nan"].startswith("failed [run.diverged] 3/100 cpu")
    assert by_name["demo/later"] == "planned 0/7"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--sort", "bbox/AP"], ["demo/good", "demo/bad", "demo/later", "demo/nan"]),
        (["--sort=segm/AP"], ["demo/bad", "demo/good", "demo/later", "demo/nan"]),
        (["--sort", "iteration"], ["demo/good", "demo/bad", "demo/nan", "demo/later"]),
        (["--sort", "name", "--state", "stopped,planned"], ["demo/bad", "demo/later"]),
        (["--sort", "state"], ["demo/later", "demo/bad", "demo/good", "demo/nan"]),
        (["outputs/demo", "--state=failed"], ["nan"]),
    ],
)
@pytest.mark.usefixtures("outputs")
def test_runs_are_sorted_and_filtered(capsys: pytest.CaptureFixture[str], arguments: list[str], names: list[str]):
    assert column(printed(capsys, "runs", *arguments)) == names


@pytest.mark.usefixtures("outputs")
def test_a_program_gets_the_same_as_json(capsys: pytest.CaptureFixture[str]):
    (run,) = json.loads(printed(capsys, "runs", "--json", "--state", "finished"))

    assert (run["state"], run["iterations"], run["total"], run["seconds"]) == ("finished", 100, 100, 7260.0)
    assert run["score"] == {"metric": "bbox/AP", "latest": 30.0, "best": 31.5}
    assert run["folder"].endswith("demo/good")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["nowhere"], "there is no such folder. Name one: launcher runs DIR"),
        (
            ["--state", "done"],
            "'done' is no state. There are failed, finished, planned, pruned, queued, running, stopped.",
        ),
        (["--sort", "bbox/ap"], "no run has a metric bbox/ap. They have bbox/AP"),
    ],
)
@pytest.mark.usefixtures("outputs")
def test_what_cannot_be_listed_is_answered_with_what_can(
    capsys: pytest.CaptureFixture[str], arguments: list[str], answer: str
):
    assert main(["runs", *arguments]) == 2
    assert answer in capsys.readouterr().err


def test_a_folder_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "no runs in" in printed(capsys, "runs", str(tmp_path))


@pytest.mark.usefixtures("outputs")
def test_a_state_in_which_no_run_is_says_so(capsys: pytest.CaptureFixture[str]):
    assert printed(capsys, "runs", "--state", "queued") == "none of the 4 runs in outputs is queued\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs"],
        ["status", "demo/good"],
        ["diff", "demo/good", "demo/bad"],
        ["cancel", "demo/good"],
        ["reproduce", "demo/good"],
        ["resume", "--help"],
        ["resume", "demo/nothing"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
@pytest.mark.usefixtures("outputs")
def test_no_command_about_runs_imports_torch(arguments: list[str]):
    program = (
        "import sys; from launcher.cli.main import main; main(sys.argv[1:]); "
        "print({'torch', 'detectron2', 'hydra'} & set(sys.modules), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)

    composes = arguments[0] in ("resume", "reproduce")
    assert done.stderr.splitlines()[-1] == ("{'hydra'}" if composes else "set()")


# Measured alone: scripts/bench/runs.py. Here others work beside it, so their time does not count and the bar is higher.
def test_a_thousand_runs_are_listed_within_a_second_of_computing(tmp_path: Path):
    record_run(tmp_path / "0", stopped_after(50), finished_after(100, metrics={"bbox/AP": 1.0}))
    files = {
        file.relative_to(tmp_path / "0"): file.read_bytes() for file in (tmp_path / "0").rglob("*.*") if file.is_file()
    }
    for number in range(1, 1000):
        for name, content in files.items():
            target = tmp_path / str(number) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    program = (
        "import os; from launcher.cli.main import main; main(['runs', '.']); "
        "used = os.times(); print(used.user + used.system)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)

    *_, last, seconds = done.stdout.splitlines()
    assert (len(done.stdout.splitlines()), last.split()[1]) == (1002, "finished")
    assert float(seconds) < 1.0


def test_a_run_that_runs_is_listed_with_its_progress(outputs: Path, capsys: pytest.CaptureFixture[str]):
    beat_in(begin(outputs / "demo/now"), "training", 42, at=time.time())

    with lock_folder(outputs / "demo/now"):
        text = printed(capsys, "runs", "--state", "running")

    assert column(text) == ["demo/now"]
    assert "running  42/100" in text
