"""The charts of a report, as data."""

from __future__ import annotations

import json
import math

import pytest

from launcher.sweep.curves import Measured
from launcher.sweep.report import figures
from launcher.sweep.values import JobState
from tests.sweep.report.reports import HOSTILE, a_job, a_report


def test_every_job_has_a_curve_and_the_best_one_is_drawn_over_the_others():
    report = a_report(a_job(3), a_job(2, state=JobState.pruned), a_job(1, curve=()))

    traces = figures.curves(report)["data"]

    assert [trace["name"] for trace in traces] == ["2: BASE_LR=2", "3: BASE_LR=3"]
    assert traces[0]["line"]["dash"] == "dot"
    assert traces[1]["line"]["width"] > traces[0]["line"]["width"]
    assert traces[1]["x"] == [50, 100]


def test_an_evaluation_that_was_no_number_is_a_gap():
    job = a_job(1, curve=(Measured(iterations=1, value=math.nan), Measured(iterations=2, value=2.0)))

    figure = figures.curves(a_report(job))

    assert figure["data"][0]["y"] == [None, 2.0]
    json.dumps(figure, allow_nan=False)


def test_a_setting_of_many_magnitudes_has_a_logarithmic_axis_and_words_have_categories():
    charts = dict(figures.by_setting(a_report(a_job(1), a_job(2), a_job(3))))

    assert charts["SOLVER.BASE_LR"]["layout"]["xaxis"]["type"] == "log"
    assert charts["MODEL.LOSS"]["layout"]["xaxis"]["type"] == "category"
    assert sorted(charts["SOLVER.BASE_LR"]["data"][0]["x"]) == [0.001, 0.01, 0.1]


def test_parallel_coordinates_have_a_line_per_finished_job_and_the_best_one_on_top():
    figure = figures.parallel(a_report(a_job(1), a_job(3), a_job(2), a_job(4, state=JobState.failed)))

    assert figure is not None
    assert [trace["text"][0] for trace in figure["data"]] == ["1: BASE_LR=1", "2: BASE_LR=2", "3: BASE_LR=3"]
    assert figure["data"][0]["y"][-1] == 0.0
    assert figure["data"][-1]["y"][-1] == 1.0
    assert figure["data"][1]["y"][0] == pytest.approx(0.5), "of a logarithmic axis"
    assert {mark["text"] for mark in figure["layout"]["annotations"]} == {"0.1", "0.001", "a", "b", "10", "30"}


def test_where_smaller_is_better_the_smallest_is_on_top():
    figure = figures.parallel(a_report(a_job(1), a_job(2), mode="min"))

    assert figure is not None
    assert figure["data"][-1]["text"][0] == "1: BASE_LR=1"


def test_a_sweep_with_nothing_to_compare_has_no_such_chart():
    assert figures.parallel(a_report(a_job(1))) is None
    assert figures.importance(a_report(a_job(1))) is None
    assert list(figures.by_setting(a_report(a_job(1, value=None)))) == []


def test_names_are_shown_letter_for_letter():
    job = a_job(1, name=HOSTILE, settings={"SOLVER.BASE_LR": HOSTILE})

    text = json.dumps([figures.curves(a_report(job)), *dict(figures.by_setting(a_report(job))).values()])

    assert "<img" not in text
    assert "<a " not in text
    assert "&lt;img src=x" in text
