from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard import program

from launcher.sweep.hparams import FILE, FOLDER, metric_names, write_hparams
from launcher.sweep.values import JobState
from tests.sweep.examples import a_job, a_sweep, standing

FOUND = [
    standing(0, value=1.5, metrics={"bbox/AP": 1.5, "bbox/AP50": 3.0, "bbox/AP-cat": 0.5}),
    standing(1, JobState.failed, code="run.diverged"),
    standing(2, JobState.pruned, value=0.5),
]
ALL = ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"]


@pytest.fixture
def tensorboard() -> Callable[[Path], Callable[..., Any]]:
    """Its own server, asked as its page asks it."""

    def serve(folder: Path) -> Callable[..., Any]:
        server = program.TensorBoard()
        server.configure(argv=["tensorboard", "--logdir", str(folder), "--port=0", "--load_fast=false"])
        place = server.launch()

        def ask(what: str, **asked: Any) -> Any:
            data = json.dumps({"experimentName": "", **asked}).encode()
            request = urllib.request.Request(f"{place}data/plugin/hparams/{what}", data=data)
            request.add_header("Content-Type", "application/json")
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)

        return ask

    return serve


def groups_of(ask: Callable[..., Any], expected: int) -> dict[str, Any]:
    """The rows of its table, which it reads in the background."""
    until = time.monotonic() + 60
    while True:
        answer = ask("session_groups", allowedStatuses=ALL, colParams=[], startIndex=0, sliceSize=100)
        if len(answer.get("sessionGroups", [])) == expected or time.monotonic() > until:
            return {group["name"]: group for group in answer["sessionGroups"]}
        time.sleep(0.2)


def test_tensorboard_shows_a_row_for_every_job_with_the_same_columns(tmp_path: Path, tensorboard):
    write_hparams(a_sweep(tmp_path), FOUND)

    ask = tensorboard(tmp_path)
    groups, experiment = groups_of(ask, expected=3), ask("experiment")

    assert {one["name"] for one in experiment["hparamInfos"]} == {"SOLVER.BASE_LR", "SEED", "state"}
    assert [one["name"]["tag"] for one in experiment["metricInfos"]] == ["bbox/AP", "bbox/AP50"]
    assert {name: group["hparams"] for name, group in groups.items()} == {
        "BASE_LR=0.1": {"SOLVER.BASE_LR": 0.1, "SEED": "7", "state": "finished"},
        "BASE_LR=0.2": {"SOLVER.BASE_LR": 0.2, "SEED": "7", "state": "failed [run.diverged]"},
        "BASE_LR=0.4": {"SOLVER.BASE_LR": 0.4, "SEED": "7", "state": "pruned"},
    }
    values = {name: [one["value"] for one in group.get("metricValues", [])] for name, group in groups.items()}
    assert values == {"BASE_LR=0.1": [1.5, 3.0], "BASE_LR=0.2": [], "BASE_LR=0.4": [0.5]}
    statuses = {name: group["sessions"][0]["status"] for name, group in groups.items()}
    assert statuses["BASE_LR=0.2"] == "STATUS_FAILURE"
    assert statuses["BASE_LR=0.1"] == "STATUS_SUCCESS"


def test_written_again_there_is_still_one_row_per_job(tmp_path: Path):
    for _ in range(2):
        write_hparams(a_sweep(tmp_path), FOUND)

    files = sorted(path.relative_to(tmp_path / FOLDER) for path in tmp_path.rglob("*tfevents*"))

    assert files == [*(Path(a_job(number).folder, FILE) for number in range(3)), Path(FILE)]


def test_the_main_metric_is_the_first_column_and_classes_are_none():
    assert metric_names(a_sweep(metric="bbox/AP50"), FOUND) == ["bbox/AP50", "bbox/AP"]
