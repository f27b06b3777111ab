"""Two attempts in one folder, as when a node that was given up comes back: the lock of the folder is passed over."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from launcher.run.fence import FencedError
from scripts.reliability.attempts import begin, run_to_end
from scripts.reliability.job import ITERATIONS, Job, make_job
from scripts.reliability.result import Row, end_of


def run_part(folder: Path, times: float, seed: int) -> list[Row]:
    job = make_job(folder)
    run_to_end(job.named("whole"))
    chance = random.Random(f"fence {seed}")
    count = max(1, round(10 * times))
    stopped, weights, metrics, misses = 0, 0, 0, []
    for number in range(count):
        sleeps_at, wakes_at = chance.randrange(1, ITERATIONS - 6), chance.randrange(1, ITERATIONS)
        same_weights, same_metrics, problems = two_at_once(job, f"run-{number}", sleeps_at, wakes_at, number % 2 == 1)
        stopped += not problems
        weights += same_weights
        metrics += same_metrics
        where = f"asleep at {sleeps_at}, awake when the other one has done {wakes_at}"
        misses += [f"{where}: {problem}" for problem in problems]
        misses += [f"{where}: other weights"] if not same_weights else []
        misses += [f"{where}: other metrics"] if not same_metrics else []
    return [
        Row(
            part="fence",
            tried=f"{count} attempts suspended at any iteration, overtaken by another one, and continued",
            measured=f"{stopped}/{count} stopped and reported why; the other one ended with the same weights "
            f"{weights}/{count} times, with the same metrics {metrics}/{count} times",
            misses=tuple(misses),
        )
    ]


def two_at_once(job: Job, name: str, sleeps_at: int, wakes_at: int, background: bool) -> tuple[bool, bool, list[str]]:
    """Whether the later attempt ended with the same weights and metrics, and what the earlier one did wrong."""
    request = job.named(name, background=background)
    first = begin(request)
    first.wait_until(sleeps_at)
    first.send(signal.SIGSTOP)
    first.stop_signal = None  # nobody has asked it to stop
    second = begin(request)
    second.wait_until(wakes_at)
    first.send(signal.SIGCONT)
    first.stop_signal = None
    late, ended = first.ended(), second.ended()
    problems = [] if late.outcome.code == FencedError.code else [f"it ended otherwise: {late.outcome}"]
    if ended.outcome.exit_code != 0:
        return False, False, [*problems, f"the later one: {ended.outcome.explanation}"]
    whole, end = end_of(job.named("whole")), end_of(request)
    return end.weights == whole.weights, end.metrics == whole.metrics, problems
