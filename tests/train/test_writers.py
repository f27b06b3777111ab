from __future__ import annotations

import json
from pathlib import Path

from launcher.train.writers import cut_back


def test_metrics_of_iterations_that_will_come_again_are_cut_off(tmp_path: Path):
    metrics = tmp_path / "metrics.json"
    metrics.write_text("".join(json.dumps({"iteration": i, "loss": 1.0}) + "\n" for i in (9, 19, 29)) + '{"iterat')

    cut_back(metrics, 20)

    assert [json.loads(line)["iteration"] for line in metrics.read_text().splitlines()] == [9, 19]


def test_metrics_that_stay_are_not_written_again(tmp_path: Path):
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"iteration": 9}\n')
    before = metrics.stat().st_mtime_ns

    cut_back(metrics, 10)
    cut_back(tmp_path / "missing.json", 10)

    assert metrics.stat().st_mtime_ns == before
