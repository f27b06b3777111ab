"""What it costs to be launched: against the shortest script of plain detectron2 that trains the same configuration.

    python scripts/bench/overhead.py [--pairs 3] [--iterations 30] [SETTINGS ...]

Without settings: experiment=demo, whose data must be there (`launcher data demo datasets/demo`), on the CPU where no
device=... says otherwise. Both take turns. The
time from the command to the end of the first iteration is by the clock; iterations after the first three are compared
by the CPU time of the training process too, which other work on the machine changes less. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAIN = """
import sys
from detectron2.config import get_cfg
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultTrainer, HookBase
cfg = get_cfg()
cfg.merge_from_file(sys.argv[1])
for split, file, images in (entry.split("=") for entry in sys.argv[3:]):
    register_coco_instances(split, {}, file, images)
sys.path.insert(0, sys.argv[2])
from timing import NoteTimes
trainer = DefaultTrainer(cfg)
trainer.resume_or_load(resume=False)
trainer.register_hooks([NoteTimes()])
trainer.train()
"""
TIMING = """
import os, time
from detectron2.engine import HookBase
class NoteTimes(HookBase):
    def before_train(self):
        self.file = open(os.environ["NOTE_TIMES"], "w")
    def after_step(self):
        print(time.time(), time.process_time(), file=self.file, flush=True)
"""
OURS = """
from launcher.train import Trainer
from timing import NoteTimes
class MyTrainer(Trainer):
    def build_hooks(self):
        return [NoteTimes()]
"""
WARM_UP = 3
SAME = ("DATASETS.TEST=[]", "logging.images=0", "SOLVER.CHECKPOINT_PERIOD=1000000", "VIS_PERIOD=0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=30)
    asked, settings = parser.parse_known_args()
    settings = ["device=cpu", *(settings or ["experiment=demo"]), *SAME, f"SOLVER.MAX_ITER={asked.iterations}"]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), settings)
        bench.ours()  # fills caches, and leaves the configuration for the other
        ours, plain = [], []
        for _ in range(asked.pairs):
            plain.append(bench.plain())
            ours.append(bench.ours())
    for number, what in enumerate(("command to first iteration", "an iteration after that", "its CPU time")):
        compare(what, [row[number] for row in ours], [row[number] for row in plain])


def compare(what: str, ours: list[float], plain: list[float]) -> None:
    ratios = [mine / other for mine, other in zip(ours, plain, strict=True)]
    print(
        f"{what:28s} ours {statistics.median(ours):7.3f} s   plain {statistics.median(plain):7.3f} s   "
        f"{statistics.median(ratios):.3f}x (pairs from {min(ratios):.3f} to {max(ratios):.3f})"
    )


class Bench:
    """Runs one or the other, in a folder for what both leave."""

    def __init__(self, folder: Path, settings: list[str]) -> None:
        self.folder = folder
        self.settings = settings
        self.times = folder / "times"
        for name, code in (("timing.py", TIMING), ("ours_for_timing.py", OURS), ("plain.py", PLAIN)):
            (folder / name).write_text(code)
        paths = [str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        self.environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "NOTE_TIMES": str(self.times),
        }

    def ours(self) -> tuple[float, float, float]:
        run = ["run.name=bench", f"run.root={self.folder / 'runs'}", "resume=never"]
        command = ["-m", "launcher", "train", *self.settings, "trainer=ours_for_timing:MyTrainer", *run]
        return self._timed(command)

    def plain(self) -> tuple[float, float, float]:
        run = next(path for path in self.folder.rglob("bench/config.yaml"))
        plan = json.loads(next(iter(sorted(run.parent.glob("attempts/*/plan.json")))).read_text())
        splits = [f"{one['name']}={one['json']}={one['images']}" for one in plan["data"]["splits"]]
        config = self.folder / "config.yaml"
        config.write_text(run.read_text().replace(plan["folder"], str(self.folder / "plain")))
        return self._timed([str(self.folder / "plain.py"), str(config), str(self.folder), *splits])

    def _timed(self, command: list[str]) -> tuple[float, float, float]:
        began = time.time()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *command], env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        clock, cpu = zip(*(map(float, line.split()) for line in self.times.read_text().splitlines()), strict=True)
        return clock[0] - began, between(clock), between(cpu)


def between(times: tuple[float, ...]) -> float:
    """The median distance of two iterations, once everything runs."""
    steady = times[WARM_UP:]
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(steady))


if __name__ == "__main__":
    main()
