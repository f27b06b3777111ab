"""Trainings that are killed again and again, compared with one that never was."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.config.request import RunRequest
from scripts.reliability.attempts import STOP_WITHIN_S, Ended, Kill, begin, run, run_to_end
from scripts.reliability.job import CHECKPOINT_PERIOD, ITERATIONS, Job, make_job, paths_of
from scripts.reliability.result import End, Row, end_of

MOST_ATTEMPTS = 60
SHARE_OF_TERM = 0.25
START = 8  # iterations that take about as long as an attempt takes to begin


@dataclass
class Pace:
    """How long an attempt from the beginning to the end takes: kills are to come at any time of one.

    Followed, because others may use the machine too: kills that come too early for any progress would never end.
    """

    seconds: float

    def note(self, ended: Ended) -> None:
        if not ended.was_hit and ended.outcome.exit_code == 0:
            done = ITERATIONS - ended.began_at
            self.seconds = ended.seconds * (START + ITERATIONS) / (START + done)


@dataclass
class Tally:
    """Of all trainings of one kind together."""

    trainings: int = 0
    same_weights: int = 0
    same_metrics: int = 0
    kills: int = 0
    terms: int = 0
    attempts: int = 0
    lost_by_kill: list[int] = field(default_factory=list)
    """Iterations done and to be done again, by attempt."""
    lost_by_term: list[int] = field(default_factory=list)
    seconds_to_stop: list[float] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)

    def note(self, kill: Kill, ended: Ended) -> None:
        self.attempts += 1
        if not ended.was_hit:
            return
        lost = max(0, max(ended.done, ended.began_at) - ended.kept)
        if kill.number == signal.SIGTERM:
            self.terms += 1
            self.lost_by_term.append(lost)
            self.seconds_to_stop.append(ended.seconds_to_stop)
        else:
            self.kills += 1
            self.lost_by_kill.append(lost)

    def judge(self, name: str, end: End, whole: End) -> bool:
        self.trainings += 1
        self.same_weights += end.weights == whole.weights
        self.same_metrics += end.metrics == whole.metrics
        if end == whole:
            return True
        what = "metrics" if end.weights == whole.weights else "weights"
        self.misses.append(f"{name}: other {what} than without kills")
        return False


def kill_trainings(job: Job, *, trainings: int, processes: int, background: bool, seed: int) -> Row:
    """Kill `trainings` trainings at random times until each has come to its end."""
    how = f"{processes}p-{'background' if background else 'blocking'}"
    whole = job.named(f"whole-{processes}", processes=processes)
    if not paths_of(whole).final_weights.exists():
        run_to_end(whole)
    timed = job.named(f"timed-{processes}", processes=processes)
    pace = Pace(seconds=run_to_end(timed).seconds)
    shutil.rmtree(paths_of(timed).folder)
    tally = Tally()
    for number in range(trainings):
        name = f"killed-{how}-{seed}-{number}"
        end = _until_its_end(job, name, processes, background, random.Random(name), pace, tally)
        if end is not None and tally.judge(name, end_of(end), end_of(whole)):
            shutil.rmtree(paths_of(end).folder)
    return row_of(tally, processes, background)


def _until_its_end(
    job: Job, name: str, processes: int, background: bool, chance: random.Random, pace: Pace, tally: Tally
) -> RunRequest | None:
    for _ in range(MOST_ATTEMPTS):
        workers = chance.choice((0, 1, 2))
        request = job.named(name, processes=processes, background=background, DATALOADER__NUM_WORKERS=workers)
        number = signal.SIGTERM if chance.random() < SHARE_OF_TERM else signal.SIGKILL
        # A rank may die alone; asking to stop is for the worker, as the launcher does it.
        rank = chance.randrange(-1, processes) if processes > 1 and number == signal.SIGKILL else -1
        kill = Kill(after_s=chance.uniform(0, pace.seconds), number=number, rank=rank)
        ended = run(request, kill)
        pace.note(ended)
        tally.note(kill, ended)
        tally.misses += problems_with(name, kill, ended, background)
        if ended.outcome.exit_code == 0:
            return request
    tally.misses.append(f"{name}: not at its end after {MOST_ATTEMPTS} attempts")
    return None


def kill_at(job: Job, iterations: Sequence[int], *, processes: int, background: bool) -> Row:
    """Kill one training after each of these iterations, so that little time is enough for a few kills."""
    whole, killed = (job.named(f"{name}-{processes}", processes=processes) for name in ("whole", "killed"))
    run_to_end(whole)
    tally = Tally()
    for number, until in enumerate([*iterations, None]):
        workers = {"DATALOADER__NUM_WORKERS": number % 3}
        attempt = begin(job.named(f"killed-{processes}", processes=processes, background=background, **workers))
        was_hit = False
        if until is not None:
            attempt.wait_until(until)
            was_hit = attempt.send(signal.SIGKILL)
        kill, ended = Kill(after_s=0.0), attempt.ended(was_hit=was_hit)
        tally.note(kill, ended)
        tally.misses += problems_with(f"killed after {until}", kill, ended, background)
    tally.judge("killed", end_of(killed), end_of(whole))
    return row_of(tally, processes, background)


def problems_with(name: str, kill: Kill, ended: Ended, background: bool) -> list[str]:
    """What must not be after any single kill."""
    if not ended.was_hit and ended.outcome.exit_code != 0:
        return [f"{name}: failed by itself: {ended.outcome.explanation}"]
    lost = ended.done - ended.kept
    asked = ended.was_hit and kill.number == signal.SIGTERM
    # In the background a checkpoint may still be under way when the next one is due.
    most = 1 if asked else CHECKPOINT_PERIOD * (2 if background else 1)
    problems = [f"{name}: {lost} iterations lost"] if lost > most else []
    if asked and ended.outcome.exit_code not in (0, 75):
        problems.append(f"{name}: exit code {ended.outcome.exit_code} when asked to stop")
    if asked and ended.seconds_to_stop > STOP_WITHIN_S:
        problems.append(f"{name}: took {ended.seconds_to_stop:.0f} s to stop")
    return problems


def row_of(tally: Tally, processes: int, background: bool) -> Row:
    total = tally.kills + tally.terms
    saves = "asynchronous saves" if background else "blocking saves"
    return Row(
        part="kills",
        tried=f"{tally.trainings} trainings, {processes} process{'es' if processes > 1 else ''}, {saves}: "
        f"{total} kills ({tally.kills} SIGKILL, {tally.terms} SIGTERM)",
        measured=f"{tally.same_weights}/{tally.trainings} same weights, {tally.same_metrics}/{tally.trainings} same "
        f"metrics; iterations lost at most {_most(tally.lost_by_kill)} by SIGKILL, {_most(tally.lost_by_term)} by "
        f"SIGTERM, which took {_most(tally.seconds_to_stop):.1f} s at most",
        misses=tuple(tally.misses),
    )


def _most(values: Sequence[float]) -> float:
    return max(values, default=0)


def run_part(folder: Path, times: float, seed: int) -> list[Row]:
    job = make_job(folder)
    return [
        kill_trainings(
            job, trainings=max(1, round(trainings * times)), processes=processes, background=background, seed=seed
        )
        for trainings, processes, background in ((45, 1, False), (45, 1, True), (5, 2, False), (5, 2, True))
    ]
