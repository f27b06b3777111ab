"""How threads that wait for each other should wait: seconds per iteration on idle cores, and with one core taken.

    python scripts/bench/threads.py [--rounds 3] [--images 2] [--pixels 320] [WAY ...]

A way is a list of variables, such as OMP_WAIT_POLICY=PASSIVE or GOMP_SPINCOUNT=1000,OMP_NUM_THREADS=1, or `default`.
All take turns, with and without a process beside them that computes for nothing. Run it on an idle machine, for ten
minutes: what others do there counts in full.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from bf16 import answer, end, make_trainer, start, step

WAYS = (
    "default",
    "GOMP_SPINCOUNT=100000",
    "GOMP_SPINCOUNT=30000",
    "GOMP_SPINCOUNT=10000",
    "GOMP_SPINCOUNT=3000",
    "GOMP_SPINCOUNT=1000",
    "GOMP_SPINCOUNT=100",
    "OMP_WAIT_POLICY=PASSIVE",
    "OMP_NUM_THREADS=1",
)
BUSY = "while True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--pixels", type=int, default=320)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("ways", nargs="*", default=WAYS)
    asked = parser.parse_args()
    if asked.serve:
        asked.rounds = 2 * asked.rounds + 1  # twice as many as in each situation, and the first of both
        answer(make_trainer(asked, "", False), time.perf_counter)
        return
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} before the start", flush=True)
    processes = {way: start(["--serve"], environ_of(way)) for way in asked.ways}
    idle, busy = measured(processes, asked.rounds, nullcontext), measured(processes, asked.rounds, one_core_taken)
    end(processes)
    report(idle, busy)


def environ_of(way: str) -> dict[str, str]:
    variables = {} if way == "default" else dict(one.split("=") for one in way.split(","))
    names = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return {**clean, **variables}


def measured(processes: dict[str, Any], rounds: int, beside: Any) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {way: [] for way in processes}
    with beside():
        for number in range(rounds + 1):
            for way, process in processes.items():
                took = step(process, number)
                print(f"  round {number}: {way} {took:.2f} s", file=sys.stderr, flush=True)
                if number:  # the first gets kernels and memory ready
                    seconds[way].append(took)
    return seconds


@contextmanager
def one_core_taken() -> Iterator[None]:
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def report(idle: dict[str, list[float]], busy: dict[str, list[float]]) -> None:
    base_idle, base_busy = (statistics.median(next(iter(times.values()))) for times in (idle, busy))
    print(f"{'':40s} {'idle':>7s} {'':>8s} {'one core taken':>15s}")
    for way in idle:
        alone, beside = statistics.median(idle[way]), statistics.median(busy[way])
        compared = f"{100 * (alone / base_idle - 1):+6.1f} %"
        print(f"{way:40s} {alone:6.2f}s {compared} {beside:9.2f}s {beside / base_idle:6.2f}x of idle by default")
    print(f"by default one core taken costs {base_busy / base_idle:.2f}x; load {os.getloadavg()[0]:.1f} after the end")


if __name__ == "__main__":
    main()
