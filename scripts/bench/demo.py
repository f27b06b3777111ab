"""How long the demo takes and what it reaches, for several seeds in turn. Not a test: run it on an idle machine.

    python scripts/bench/demo.py [SEED ...] [SETTING=VALUE ...]

The demo data must be there (`launcher data demo datasets/demo`). Runs go to a temporary folder.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METRICS = ("bbox/AP", "bbox/AP50", "segm/AP", "segm/AP50")


def main(arguments: list[str]) -> None:
    seeds = [argument for argument in arguments if argument.isdigit()] or ["1", "2", "3"]
    settings = [argument for argument in arguments if "=" in argument]
    print(f"{'seed':>6} {'wall s':>7} {'cpu s':>7} " + " ".join(f"{metric:>9}" for metric in METRICS))
    rows = [measure(seed, settings) for seed in seeds]
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    print(line("mean", means))


def measure(seed: str, settings: list[str]) -> list[float]:
    """Wall and CPU seconds of the command, then the final metrics."""
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, "-m", "launcher", "train", "experiment=demo", f"SEED={seed}", f"run.root={root}"]
        started, cpu_before = time.perf_counter(), cpu_of_children()
        subprocess.run([*command, *settings], check=True, stdout=subprocess.DEVNULL)
        wall, cpu = time.perf_counter() - started, cpu_of_children() - cpu_before
        (outcome,) = Path(root).rglob("outcome.json")
        metrics = json.loads(outcome.read_text())["work"]["metrics"]
    row = [wall, cpu, *(float(metrics[metric]) for metric in METRICS)]
    print(line(seed, row), flush=True)
    return row


def cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def line(name: str, row: list[float]) -> str:
    return f"{name:>6} {row[0]:7.0f} {row[1]:7.0f} " + " ".join(f"{value:9.1f}" for value in row[2:])


if __name__ == "__main__":
    main(sys.argv[1:])
