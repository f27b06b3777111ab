"""What looking at the devices adds to the time until a training has done its first iteration.

    python scripts/bench/startup.py --pairs 5 SETTINGS...

Runs `launcher train SETTINGS... SOLVER.MAX_ITER=1` in turn as it is and with the looking replaced by facts that are
there already, and compares medians. Run it on an idle machine.
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

AS_IT_IS = "import sys; from launcher.cli.main import main; sys.exit(main(sys.argv[2:]))"
WITHOUT_LOOKING = """
import sys
from pathlib import Path
from launcher.config.values import read_json
from launcher.device import facts
from launcher.device.look import probe
known = read_json(Path(sys.argv[1]), facts.DeviceFacts)
probe.look_at_devices = lambda *arguments, **options: known
from launcher.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    asked, settings = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp())
    known = folder / "facts.json"
    seconds_of(AS_IT_IS, known, folder, settings)  # fills caches
    shutil.copyfile(next(folder.glob("runs/**/facts.json")), known)
    looking, known_already = [], []
    for _ in range(asked.pairs):
        looking.append(seconds_of(AS_IT_IS, known, folder, settings))
        known_already.append(seconds_of(WITHOUT_LOOKING, known, folder, settings))
    medians = statistics.median(looking), statistics.median(known_already)
    print(f"one iteration, looking at the devices: {medians[0]:.2f} s; knowing them already: {medians[1]:.2f} s")
    print(f"looking adds {100 * (medians[0] / medians[1] - 1):.1f} % (medians of {asked.pairs} pairs)")


def seconds_of(code: str, known: Path, folder: Path, settings: list[str]) -> float:
    shutil.rmtree(folder / "runs", ignore_errors=True)
    short = [*settings, "SOLVER.MAX_ITER=1", "DATASETS.TEST=[]", "logging.images=0", f"run.root={folder / 'runs'}"]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, str(known), "train", *short], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"the training failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


if __name__ == "__main__":
    main()
