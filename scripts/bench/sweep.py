"""What a job of a sweep costs: `launcher train -m` against one command after the other, and on its own.

    python scripts/bench/sweep.py [--jobs 16] [--rounds 1] [--iterations 2] [SETTINGS ...]

Without settings: experiment=demo, whose data must be there (`launcher data demo datasets/demo`). Both sides train the
same configurations with one thread each and take turns: Hydra's basic launcher with a task that starts
`python -m launcher train`, and one `launcher train -m` for all. Each side is one command; its CPU time is that of all
its processes. Then what the pool needs for a job that does nothing, and for such a training, one job at a time in a
server that is warm: from one's end to the next's, and in CPU time what each further one adds. By the clock on an idle
machine only: other work changes the CPU time less.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compose import cpu_of_children_s

ONE_BY_ONE = """
import subprocess, sys
import hydra
SETTINGS = sys.argv[sys.argv.index("--") + 1 :]
del sys.argv[sys.argv.index("--") :]
@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    own = [f"SOLVER.BASE_LR={cfg.rate}", "run.root=alone"]
    subprocess.run([sys.executable, "-m", "launcher", "train", *SETTINGS, *own], check=True, stdout=subprocess.DEVNULL)
main()
"""
NOTHING = """
import hydra
from launcher.pool import register
register()
@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    return cfg.rate
main()
"""
SWEEP = ("-m", "launcher", "train", "-m", "pool.devices=cpu", "run.root=swept")
CHEAP = ("DATASETS.TEST=[]", "logging.images=0", "logging.period=1", "device=cpu", "VIS_PERIOD=0")


@dataclass(frozen=True, kw_only=True)
class Cost:
    wall_s: float
    cpu_s: float
    ends: tuple[float, ...]
    """When the controller said that a job had ended, in seconds since its start."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=2)
    asked, settings = parser.parse_known_args()
    settings = [
        *(settings or ["experiment=demo", f"dataset.root={Path('datasets').absolute()}"]),
        *CHEAP,
        f"SOLVER.MAX_ITER={asked.iterations}",
    ]
    compare(settings, asked.jobs, asked.rounds)
    nothing(asked.jobs)
    warm_trainings(settings, min(asked.jobs, 8))


def compare(settings: Sequence[str], jobs: int, rounds: int) -> None:
    walls, cpus = [], []
    for _ in range(rounds):
        alone = one_by_one(settings, jobs)
        pool = in_the_pool(settings, jobs)
        walls.append(alone.wall_s / pool.wall_s)
        cpus.append(alone.cpu_s / pool.cpu_s)
        print(
            f"{jobs} trainings   one by one {alone.wall_s:.1f} s, {alone.cpu_s:.1f} s of CPU   "
            f"pool {pool.wall_s:.1f} s, {pool.cpu_s:.1f} s of CPU",
            flush=True,
        )
    print(f"{statistics.median(walls):.2f}x by the clock, {statistics.median(cpus):.2f}x by CPU time", flush=True)


def one_by_one(settings: Sequence[str], jobs: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        script = written(folder, ONE_BY_ONE)
        return run(folder, [script, "-m", swept("+rate", jobs), "--", *settings])


def in_the_pool(settings: Sequence[str], jobs: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        return run(folder, [*SWEEP, *settings, swept("SOLVER.BASE_LR", jobs)])


def nothing(jobs: int) -> None:
    few, many = (_nothing(number) for number in (2, 2 + jobs))
    cpu_s = (many.cpu_s - few.cpu_s) / jobs
    print(f"a job that does nothing   {between(many):.3f} s by the clock, {cpu_s:.3f} s of CPU", flush=True)


def _nothing(jobs: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        script = written(folder, NOTHING)
        pool = ("hydra/launcher=pool", "hydra.launcher.devices=cpu", "hydra.launcher.max_parallel=1")
        return run(folder, [script, "-m", *pool, swept("+rate", jobs)])


def warm_trainings(settings: Sequence[str], jobs: int) -> None:
    few, many = (_one_at_a_time(settings, number) for number in (2, 2 + jobs))
    cpu_s = (many.cpu_s - few.cpu_s) / jobs
    print(f"a training as above       {between(many):.3f} s by the clock, {cpu_s:.3f} s of CPU", flush=True)


def _one_at_a_time(settings: Sequence[str], jobs: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        return run(folder, [*SWEEP, "pool.max_parallel=1", *settings, swept("SOLVER.BASE_LR", jobs)])


def between(cost: Cost) -> float:
    gaps = [after - before for before, after in zip(cost.ends, cost.ends[1:], strict=False)]
    return statistics.median(gaps)


def swept(name: str, jobs: int) -> str:
    return f"{name}={','.join(str(0.001 + job / 10_000) for job in range(jobs))}"


def written(folder: str, code: str) -> str:
    Path(folder, "app.py").write_text(code)
    return "app.py"


def run(folder: str, command: Sequence[str]) -> Cost:
    repository = str(Path(__file__).parent.parent.parent)
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": repository}
    before, ends = cpu_of_children_s(), []
    began = time.time()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if re.match(r"job \d+/\d+ .*(returned|finished)", line):
            ends.append(time.time() - began)
    if process.wait() != 0:
        raise SystemExit("".join(printed))
    return Cost(wall_s=time.time() - began, cpu_s=cpu_of_children_s() - before, ends=tuple(ends))


if __name__ == "__main__":
    main()
