"""How long composing an experiment takes, in bare Hydra applications of the same machine.

    python scripts/bench/compose.py

Whole processes in turn, so that both see the same machine; the figure is the median of the ratios of neighbours.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BARE_APPLICATION = """
import hydra

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    pass

main()
"""
BARE_CONFIG = "defaults: [_self_]\nlearning_rate: 0.1\n"
BARE_EXPERIMENT = "# @package _global_\nlearning_rate: 0.2\n"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The seconds of two neighbouring processes."""

    bare_wall_s: float
    bare_cpu_s: float
    ours_wall_s: float
    ours_cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = measure(parser.parse_args().pairs)
    for what, ratios in (
        ("wall", [pair.ours_wall_s / pair.bare_wall_s for pair in pairs]),
        ("cpu", [pair.ours_cpu_s / pair.bare_cpu_s for pair in pairs]),
    ):
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{what:5} median ratio {middle:.2f} (quartiles {low:.2f} to {high:.2f}) over {len(ratios)} pairs")
    bare, ours = (
        statistics.median(values) for values in zip(*[(p.bare_wall_s, p.ours_wall_s) for p in pairs], strict=True)
    )
    print(f"bare Hydra {bare:.2f} s, launcher {ours:.2f} s (medians, wall)")


def measure(num_pairs: int) -> list[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        bare = [sys.executable, str(write_bare_application(Path(folder))), "+experiment=coco", "--cfg", "job"]
        ours = [sys.executable, "-m", "launcher", "train", "experiment=coco", "--cfg", "job"]
        # Once unmeasured: bytecode, disk cache, detectron2's keys.
        seconds_of(bare)
        seconds_of(ours)
        return [measure_pair(bare, ours, ours_first=bool(i % 2)) for i in range(num_pairs)]


def write_bare_application(folder: Path) -> Path:
    (folder / "conf" / "experiment").mkdir(parents=True)
    (folder / "conf" / "config.yaml").write_text(BARE_CONFIG)
    (folder / "conf" / "experiment" / "coco.yaml").write_text(BARE_EXPERIMENT)
    application = folder / "bare.py"
    application.write_text(BARE_APPLICATION)
    return application


def measure_pair(bare: Sequence[str], ours: Sequence[str], *, ours_first: bool) -> Pair:
    if ours_first:
        ours_wall_s, ours_cpu_s = seconds_of(ours)
        bare_wall_s, bare_cpu_s = seconds_of(bare)
    else:
        bare_wall_s, bare_cpu_s = seconds_of(bare)
        ours_wall_s, ours_cpu_s = seconds_of(ours)
    return Pair(bare_wall_s=bare_wall_s, bare_cpu_s=bare_cpu_s, ours_wall_s=ours_wall_s, ours_cpu_s=ours_cpu_s)


def seconds_of(command: Sequence[str]) -> tuple[float, float]:
    cpu_before_s, start_s = cpu_of_children_s(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "HYDRA_FULL_ERROR": "0"})
    return time.perf_counter() - start_s, cpu_of_children_s() - cpu_before_s


def cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
