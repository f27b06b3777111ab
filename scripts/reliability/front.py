"""Kills through the front door: `python -m launcher train`, also of the launcher itself, with everything as it is."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from launcher.errors import ExitCode
from scripts.reliability.attempts import children_of
from scripts.reliability.job import Job, make_job, paths_of
from scripts.reliability.result import Row, end_of

REPOSITORY = Path(__file__).parents[2]
MOST_STARTS = 40
WAYS = ("SIGKILL to the launcher", "SIGKILL to the training", "SIGTERM to the launcher")


def run_part(folder: Path, times: float, seed: int) -> list[Row]:
    job = make_job(folder)
    return [
        kill_through_front(job, max(1, round(6 * times)), 1, seed),
        kill_through_front(job, max(1, round(2 * times)), 2, seed),
    ]


def kill_through_front(job: Job, trainings: int, processes: int, seed: int) -> Row:
    whole = job.named(f"whole-{processes}")
    started = time.monotonic()
    first = start(job, f"whole-{processes}", processes)
    first.communicate()
    seconds = time.monotonic() - started
    ways: Counter[str] = Counter()
    starts, same, misses = 0, 0, []
    for number in range(trainings):
        chance = random.Random(f"front {seed} {processes} {number}")
        name = f"killed-{processes}-{number}"
        for _ in range(MOST_STARTS):
            starts += 1
            process = start(job, name, processes)
            way = disturb(process, chance.uniform(1, seconds), chance)
            printed = process.communicate()[0]
            ways[way] += 1
            if "Traceback" in printed:
                misses.append(f"{name}: a traceback after {way}: {printed[-500:]}")
            if way == WAYS[2] and process.returncode not in (ExitCode.resumable, ExitCode.finished):
                misses.append(f"{name}: exit code {process.returncode} after {way}")
            if process.returncode == ExitCode.finished:
                break
            if "is being trained right now" in printed:
                time.sleep(0.5)  # the training that outlived its launcher is still saving
        else:
            misses.append(f"{name}: not at its end after {MOST_STARTS} starts")
            continue
        end = job.named(name)
        if end_of(end) == end_of(whole):
            same += 1
            shutil.rmtree(paths_of(end).folder)
        else:
            misses.append(f"{name}: another end")
    told = ", ".join(f"{ways[way]} {way}" for way in WAYS)
    return Row(
        part="front",
        tried=f"{trainings} trainings of {processes} process{'es' if processes > 1 else ''} by `python -m launcher "
        f"train`, {starts} starts: {told}",
        measured=f"{same}/{trainings} same weights and metrics",
        misses=tuple(misses),
    )


def start(job: Job, name: str, processes: int) -> subprocess.Popen[str]:
    settings = [setting for setting in job.settings if not setting.startswith("run.retries")]
    return subprocess.Popen(
        [sys.executable, "-m", "launcher", "train", *settings, f"run.name={name}", f"device.count={processes}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )


def disturb(process: subprocess.Popen[str], after_s: float, chance: random.Random) -> str:
    """Wait, then kill in one of the ways; which, or `none` when it had ended by then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
        return "none"
    way = chance.choice(WAYS)
    target = training_of(process.pid) if way == WAYS[1] else process.pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(target, signal.SIGTERM if way == WAYS[2] else signal.SIGKILL)
    return way


def training_of(launcher: int) -> int:
    """The process that trains, or the launcher where there is none yet."""
    for child in children_of(launcher):
        with contextlib.suppress(OSError):
            if b"launcher.train" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return launcher
