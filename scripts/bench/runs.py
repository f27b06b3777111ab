"""How long `launcher runs` takes for many run folders.

    python scripts/bench/runs.py --runs 1000 RUN

Copies what a list reads of that run, lists the copies and prints medians. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READ = ("request.yaml", "metrics.json", ".lock", "attempts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        for number in range(asked.runs):
            copy(asked.run, Path(root) / f"experiment{number % 10}" / f"BASE_LR=0.{number:04d}")
        seconds = [listing(root) for _ in range(asked.rounds)]
    print(f"{asked.runs} runs: {statistics.median(seconds):.2f} s (median of {asked.rounds})")


def copy(run: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name in READ:
        if (run / name).is_dir():
            shutil.copytree(run / name, target / name, ignore=shutil.ignore_patterns("log*.txt"))
        elif (run / name).exists():
            shutil.copy(run / name, target / name)


def listing(root: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "launcher", "runs", root], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
