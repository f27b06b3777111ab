"""`launcher report`: the page of a sweep."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.main import main
from launcher.config.request import BestMode
from launcher.run.paths import RunPaths
from launcher.sweep.record import write_sweep
from launcher.sweep.values import SWEEP_VERSION, Job, Sweep
from tests.recorded_runs import record_run, write_metrics
from tests.values import failed_with, finished_after

importlib.import_module("plotly.offline")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "demo" / "sweep-lr"
    jobs = tuple(Job(number=at, overrides=(f"SOLVER.BASE_LR=0.{at}",), folder=f"lr={at}") for at in range(3))
    values: dict[str, Any] = {"command": "launcher train -m", "fixed": (), "swept": ("SOLVER.BASE_LR",), "seeds": 1}
    write_sweep(
        Sweep(version=SWEEP_VERSION, folder=folder, sweeper="grid", metric="bbox/AP", mode=BestMode.max, seed=1,
              jobs=jobs, **values)
    )  # fmt: skip
    record_run(folder / "lr=0", finished_after(100, metrics={"bbox/AP": 40.0}))
    record_run(folder / "lr=1", failed_with("run.diverged", iterations=7))
    write_metrics(RunPaths(folder / "lr=0"), {"bbox/AP": 20.0, "iteration": 49}, {"bbox/AP": 40.0, "iteration": 99})
    return folder


def test_a_sweep_of_a_grid_has_a_report(sweep: Path, capsys: pytest.CaptureFixture[str]):
    status = main(["report", "sweep-lr", "--root", str(sweep.parent.parent)])

    text = (sweep / "report.html").read_text(encoding="utf-8")
    assert status == 0
    assert f"{sweep / 'report.html'}  (3 jobs" in capsys.readouterr().out
    assert "1 planned, 1 finished, 1 failed; compared by bbox/AP" in text
    assert json.dumps([50, 100]) in text
    assert "plotly.js v" in text


def test_the_page_goes_where_it_is_wanted(sweep: Path, tmp_path: Path):
    assert main(["report", str(sweep), "--out", str(tmp_path / "deep" / "page.html")]) == 0

    assert (tmp_path / "deep" / "page.html").exists()
    assert not (sweep / "report.html").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("sweep-rl", "no sweep is called sweep-rl; .* has demo/sweep-lr. Name one: launcher report SWEEP"),
        ("nothing", "no sweep is called nothing"),
    ],
)
def test_a_sweep_that_is_not_there_is_named_with_those_that_are(sweep: Path, capsys, asked: str, says: str):
    assert main(["report", asked, "--root", str(sweep.parent.parent)]) == 2

    error = capsys.readouterr().err
    assert re.search(says, error), error


def test_a_page_that_cannot_be_written_is_refused_with_the_way_out(sweep: Path, capsys):
    assert main(["report", str(sweep), "--out", "/proc/page.html"]) == 2

    assert "Choose another file: --out FILE" in capsys.readouterr().err


def test_a_sweep_of_another_version_is_no_report(sweep: Path, capsys):
    (sweep / "sweep.json").write_text("{}")

    assert main(["report", str(sweep)]) == 2

    assert "is damaged or of another version" in capsys.readouterr().err


def test_without_plotly_one_sentence_says_what_to_type(sweep: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)

    assert main(["report", str(sweep)]) == 2

    assert "Install it: pip install 'detectron2-launcher[report]'" in capsys.readouterr().err
