"""Trials of what the launcher guarantees for interrupted trainings. Not a test: they take minutes.

    python scripts/reliability/run.py [PART ...] [--times FACTOR] [--seed N] [--folder FOLDER]

Every part prints its figures as rows of a table and, below them, where it missed; then the exit status is 1. The
figures that were measured are in docs/reliability.md. Linux only.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

PARTS = ("kills", "front", "crash", "damage", "disk", "bad", "fence", "elastic", "stock", "sweeps", "slurm")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none means all")
    parser.add_argument("--times", type=float, default=1.0, help="of everything random so many times as much")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other random choices")
    parser.add_argument("--folder", type=Path, help="to keep what was trained; otherwise a temporary one")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    # Before torch is imported, and for every child.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONWARNINGS"] = "ignore"
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(Path(__file__).parents[2]))
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        missed = [_run(part, folder / part, asked.times, asked.seed) for part in asked.parts or PARTS]
    return int(any(missed))


def _run(part: str, folder: Path, times: float, seed: int) -> bool:
    from scripts.reliability.result import as_table

    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    rows = importlib.import_module(f"scripts.reliability.{part}").run_part(folder.absolute(), times, seed)
    print(as_table(rows))
    misses = [miss for row in rows for miss in row.misses]
    print(f"{part}: {time.monotonic() - started:.0f} s, {len(misses)} misses")
    for miss in misses:
        print(f"  {miss}")
    print(flush=True)
    return bool(misses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
