"""Sweeps whose controller is killed again and again: `python -m launcher train -m`, with everything as it is."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.errors import ExitCode
from launcher.run.holder import holder_of
from launcher.run.paths import RunPaths
from launcher.sweep.stored import read_sweep
from launcher.sweep.values import Sweep
from scripts.reliability.job import Job, make_job
from scripts.reliability.result import End, Row

REPOSITORY = Path(__file__).parents[2]
RATES = ("0.01", "0.02", "0.03", "0.04")
MOST_STARTS = 200
PATIENCE_S = 120.0


@dataclass
class Tally:
    """Of all sweeps together."""

    kills: int = 0
    starts: int = 0
    sweeps: int = 0
    adopted: int = 0
    """Jobs that outlived a controller and were waited for by the next one."""
    misses: list[str] = field(default_factory=list)


def run_part(folder: Path, times: float, seed: int) -> list[Row]:
    """Kill the controller so often; what is killed with it varies."""
    job, wanted = make_job(folder), max(1, round(100 * times))
    whole, seconds = whole_sweep(job, folder)
    tally, chance = Tally(), random.Random(f"sweeps {seed}")
    while tally.kills < wanted:
        root = folder / f"killed-{tally.sweeps}"
        kill_until_done(job, root, seconds, wanted, tally, chance)
        tally.sweeps += 1
        tally.misses += compare(root, whole)
    measured = f"{tally.sweeps} sweeps at the end, {tally.starts} starts, {tally.adopted} jobs adopted"
    tried = f"{tally.kills} kills of the controller of a sweep of {len(RATES)} jobs"
    return [Row(part="sweeps", tried=tried, measured=measured, misses=tuple(tally.misses))]


def whole_sweep(job: Job, folder: Path) -> tuple[dict[str, End], float]:
    """One that nobody disturbs, and how long it takes."""
    began = time.monotonic()
    process, output = start(job, folder / "whole")
    if process.wait() != ExitCode.finished:
        raise RuntimeError(output.read_text())
    return ends_in(folder / "whole"), time.monotonic() - began


def kill_until_done(job: Job, root: Path, seconds: float, wanted: int, tally: Tally, chance: random.Random) -> None:
    """The same command, and a kill at any time of it, until it comes to its end."""
    for _ in range(MOST_STARTS):
        process, output = start(job, root)
        tally.starts += 1
        if tally.kills < wanted:
            try:
                process.wait(chance.uniform(0.5, seconds))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                tally.kills += 1
        process.wait()
        printed = output.read_text()
        tally.adopted += printed.count("is waited for")
        if "Traceback" in printed:
            tally.misses.append(f"{root.name}: {printed[-800:]}")
        if process.returncode == ExitCode.finished:
            return
        if process.returncode != -signal.SIGKILL:
            tally.misses.append(f"{root.name}: exit code {process.returncode}: {printed[-800:]}")
    tally.misses.append(f"{root.name}: not at its end after {MOST_STARTS} starts")


def compare(root: Path, whole: dict[str, End]) -> Iterator[str]:
    """What is lost, was done twice or came out otherwise than without kills."""
    sweep = sweep_in(root)
    wait_for_jobs(sweep)
    if [job.folder for job in sweep.jobs] != list(whole):
        yield f"{root.name}: other jobs: {[job.folder for job in sweep.jobs]}"
    for name, end in ends_in(root).items():
        paths = RunPaths(sweep.folder / name)
        if end != whole.get(name):
            yield f"{root.name}: {name} ended with other numbers"
        # Only the controller was killed: no job had a reason to begin again.
        if len(paths.attempt_numbers()) != 1:
            yield f"{root.name}: {name} has {len(paths.attempt_numbers())} attempts"
        iterations = [json.loads(line)["iteration"] for line in paths.metrics.read_text().splitlines()]
        if iterations != sorted(set(iterations)):
            yield f"{root.name}: {name} wrote iterations twice: {iterations}"


def wait_for_jobs(sweep: Sweep) -> None:
    """Until nobody is at any of them."""
    until = time.monotonic() + PATIENCE_S
    while any(holder_of(sweep.folder_of(job)) for job in sweep.jobs) and time.monotonic() < until:
        time.sleep(0.2)


def ends_in(root: Path) -> dict[str, End]:
    """With what each job ended, by name."""
    from tests.exact import metrics_in, weights_in  # imports torch

    sweep = sweep_in(root)
    found = {job.folder: RunPaths(sweep.folder_of(job)) for job in sweep.jobs}
    return {
        name: End(weights=weights_in(paths.final_weights), metrics=metrics_in(paths)) for name, paths in found.items()
    }


def sweep_in(root: Path) -> Sweep:
    (file,) = root.glob("*/*/sweep.json")
    sweep = read_sweep(file.parent)
    assert sweep is not None
    return sweep


def start(job: Job, root: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """The sweep's command, and what it prints; in a file, since its jobs live on when it is killed."""
    output = root.with_name(f"{root.name}.txt")
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher", "train", "-m", *_settings(job, root)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return process, output


def _settings(job: Job, root: Path) -> Sequence[str]:
    kept = [text for text in job.settings if text.partition("=")[0] not in ("run.root", "SOLVER.BASE_LR", "device")]
    return [*kept, f"run.root={root}", "pool.devices=cpu", "device=cpu", f"SOLVER.BASE_LR={','.join(RATES)}"]
