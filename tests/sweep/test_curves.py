from __future__ import annotations

from pathlib import Path

import pytest

from launcher.run.paths import RunPaths
from launcher.sweep.curves import Measured, curve_of, main_metric_in

PLAIN = '{"bbox/AP": 1.5, "iteration": 99}\n{"total_loss": 0.5, "iteration": 119}\n{"bbox/AP": 2.5, "iteration": 199}\n'
OF_TWO_SETS = '{"a_val/bbox/AP": 4.0, "b_val/bbox/AP": 6.0, "iteration": 99}\n'


@pytest.mark.parametrize(
    ("text", "metric", "main", "values"),
    [
        (PLAIN, "", "bbox/AP", {100: 1.5, 200: 2.5}),
        (PLAIN, "segm/AP", "bbox/AP", {}),
        (PLAIN + '{"bbox/AP": 3.5, "itera', "", "bbox/AP", {100: 1.5, 200: 2.5}),
        (OF_TWO_SETS, "", "a_val/bbox/AP", {100: 4.0}),
        (OF_TWO_SETS, "b_val/bbox/AP", "a_val/bbox/AP", {100: 6.0}),
        ("", "", "", {}),
    ],
    ids=["main", "none", "half-written", "several-sets", "named", "empty"],
)
def test_a_curve_is_that_of_the_metric_that_its_run_is_listed_with(
    tmp_path: Path, text: str, metric: str, main: str, values: dict[int, float]
):
    paths = RunPaths(tmp_path)
    paths.metrics.write_text(text)

    expected = tuple(Measured(iterations=done, value=value) for done, value in values.items())
    assert (main_metric_in(paths), curve_of(paths, metric)) == (main, expected)


def test_a_run_without_evaluations_has_no_curve(tmp_path: Path):
    assert (main_metric_in(RunPaths(tmp_path)), curve_of(RunPaths(tmp_path), "bbox/AP")) == ("", ())
