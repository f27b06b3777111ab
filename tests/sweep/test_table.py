from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import pytest

from launcher.config.request import BestMode
from launcher.sweep.table import (
    best_of,
    command_of,
    ending_lines,
    plain_sweep,
    points_of,
    ranked,
    summary_csv,
    sweep_table,
)
from launcher.sweep.values import Job, JobState
from tests.sweep.examples import a_job, a_sweep, standing

FOUND = [
    standing(0, value=1.5),
    standing(1, value=2.5),
    standing(2, JobState.failed, code="run.diverged", iterations=3),
    standing(a_job(3, "0.8"), JobState.pruned, 9.0),
    standing(a_job(4, "1.6"), JobState.planned, total=None),
]


@pytest.mark.parametrize(("mode", "order"), [(BestMode.max, [1, 0, 3, 2, 4]), (BestMode.min, [0, 1, 3, 2, 4])])
def test_the_best_stands_first_and_what_did_not_finish_after_it(mode, order):
    assert [one.job.number for one in ranked(a_sweep(mode=mode), FOUND)] == order
    assert best_of(a_sweep(mode=mode), FOUND) is FOUND[order[0]]


def test_the_table_has_a_line_per_job_with_what_differs():
    lines = sweep_table(a_sweep(), FOUND).splitlines()

    assert lines[0].split() == ["job", "BASE_LR", "state", "iteration", "bbox/AP", "time"]
    assert lines[1].split() == ["2", "0.2", "finished", "100/100", "2.5", "1", "min"]
    assert "failed [run.diverged]  3/100" in lines[4]
    assert len(lines) == 6


def test_a_sweep_in_which_nothing_was_measured_has_a_table_too():
    lines = sweep_table(a_sweep(), [standing(0, JobState.failed)]).splitlines()

    assert len(lines) == 2
    assert best_of(a_sweep(), [standing(0, JobState.failed)]) is None


def test_repeated_points_are_compared_by_mean_and_spread():
    sweep = a_sweep(seed=7, seeds=2)
    found = [
        standing(a_job(0, "0.1"), value=1.0),
        standing(a_job(1, "0.1", "SEED=8"), value=3.0),
        standing(a_job(2, "0.2"), value=2.5),
        standing(a_job(3, "0.2", "SEED=8"), JobState.failed),
    ]

    first, second = points_of(sweep, found)

    assert (first.settings, first.mean, first.spread, first.num_jobs) == (("SOLVER.BASE_LR=0.2",), 2.5, None, 2)
    assert (second.mean, second.spread) == (2.0, pytest.approx(2**0.5))
    text = sweep_table(sweep, found)
    assert "SOLVER.BASE_LR=0.1  2                ± 1.4   2/2" in text
    assert "SOLVER.BASE_LR=0.2  2.5                      1/2" in text
    assert [line.split()[2] for line in text.splitlines()[1:5]] == ["8", "7", "7", "8"]


@pytest.mark.parametrize(
    ("fixed", "own", "seed", "command"),
    [
        (("experiment=demo",), ("SOLVER.BASE_LR=0.1",), 7, "launcher train experiment=demo SOLVER.BASE_LR=0.1 SEED=7"),
        (("SEED=3",), ("A=1",), 3, "launcher train SEED=3 A=1"),
        ((), ("A=1", "SEED=8"), 7, "launcher train A=1 SEED=8"),
        ((), ("SEED=8",), None, "launcher train SEED=8"),
        (
            ("sweep.name=x", "pool.devices=cpu", "run.name=y", "device=cpu", "resume=never"),
            ("A=1",),
            None,
            "launcher train device=cpu A=1",
        ),
        (("A=[1, 2]",), (), 7, "launcher train 'A=[1, 2]' SEED=7"),
    ],
)
def test_a_job_is_trained_again_by_a_command_of_its_own(fixed, own, seed, command):
    sweep = a_sweep(fixed=fixed, seed=seed)

    assert command_of(sweep, Job(number=0, overrides=own, folder="x")) == command


def test_folders_of_configurations_are_part_of_that_command():
    sweep = a_sweep(command="launcher train -m --config-dir 'my configs' experiment=demo")

    words = shlex.split(command_of(sweep, a_job()))

    assert words[:4] == ["launcher", "train", "--config-dir", "my configs"]
    assert "-m" not in words


def test_the_csv_has_every_setting_and_every_metric():
    rows = list(csv.DictReader(io.StringIO(summary_csv(a_sweep(), FOUND))))

    assert [row["job"] for row in rows][:2] == ["BASE_LR=0.2", "BASE_LR=0.1"]
    assert rows[0] == {
        "job": "BASE_LR=0.2",
        "state": "finished",
        "code": "",
        "SOLVER.BASE_LR": "0.2",
        "SEED": "7",
        "iterations": "100",
        "seconds": "60.0",
        "device": "cpu",
        "bbox/AP": "2.5",
    }
    assert rows[3]["code"] == "run.diverged"


def test_a_program_gets_the_same_as_json():
    plain = json.loads(json.dumps(plain_sweep(a_sweep(), FOUND)))

    assert plain["best"] == "BASE_LR=0.2"
    assert [job["state"] for job in plain["jobs"]] == ["finished", "finished", "pruned", "failed", "planned"]


def test_the_end_says_what_came_out_and_what_to_type_next():
    sweep = a_sweep(Path("outputs/demo/sweep-x").absolute())

    first, best, command, table, look = ending_lines(sweep, FOUND, "demo/sweep-x")

    assert first == "sweep: 1 planned, 2 finished, 1 failed, 1 pruned in demo/sweep-x"
    assert best.endswith("BASE_LR=0.2  bbox/AP 2.5")
    assert command.endswith("launcher train experiment=demo SOLVER.BASE_LR=0.2 SEED=7")
    assert table.endswith(" outputs/demo/sweep-x/summary.csv")
    assert look.endswith("launcher runs demo/sweep-x, or: launcher tensorboard outputs/demo/sweep-x")


def test_a_job_that_outlives_the_command_is_named_with_what_stops_it():
    found = [standing(0, value=1.0), standing(1, JobState.running)]

    lines = list(ending_lines(a_sweep(), found, "demo/sweep-x"))

    assert any("BASE_LR=0.2; " in line and "launcher cancel demo/sweep-x/BASE_LR=0.2" in line for line in lines)


def test_a_job_that_slurm_runs_is_not_said_to_outlive_the_command_besides():
    found = [standing(0, value=1.0), standing(1, JobState.running, in_slurm="17_2 RUNNING")]

    assert not any("launcher cancel" in line for line in ending_lines(a_sweep(), found, "demo/sweep-x"))


def test_a_metric_that_no_job_reported_is_said_with_those_that_there_are():
    found = [standing(0, metrics={"bbox/AP": 1.0, "segm/AP": 2.0})]

    lines = list(ending_lines(a_sweep(metric="mine/F1"), found, "x"))

    assert any(line.endswith("no job reported sweep.metric=mine/F1; there are: bbox/AP, segm/AP") for line in lines)
