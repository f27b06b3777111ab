from __future__ import annotations

import json
from pathlib import Path

from launcher.train.writers import cut_back


def test_metrics_of_iterations_that_will_come_again_are_cut_off(tmp_path: Path):
    metrics = tmp_path / "metrics.json"
    metrics.write_text("".join(json.dumps({"iteration": i, "loss": 1.0}) + "\n" for i in (9, 19, 29)) + '{"iterat')

    cut_back(metrics, 20)

    assert [json.loads(line)["iteration"] for line in metrics.read_text().splitlines()] == [9, 19]


def test_an_attempt_that_has_the_former_file_open_adds_nothing_any_more(tmp_path: Path):
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"iteration": 9}\n')

    with metrics.open("a") as overtaken:
        cut_back(metrics, 10)
        overtaken.write('{"iteration": 10}\n')

    assert metrics.read_text() == '{"iteration": 9}\n'


def test_where_nothing_has_been_written_nothing_is_cut_off(tmp_path: Path):
    cut_back(tmp_path / "missing.json", 10)

    assert list(tmp_path.iterdir()) == []
