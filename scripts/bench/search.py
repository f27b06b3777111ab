"""What a search adds to its jobs, and what pruning takes from them; with jobs that sleep instead of training.

    python scripts/bench/search.py idle --jobs 24 --parallel 2
    python scripts/bench/search.py pruning --jobs 24 --parallel 2
    python scripts/bench/search.py proposals

`idle` runs jobs of uneven lengths by `hydra/sweeper=search hydra/launcher=pool`, with the configuration, books and
processes that trainings have, and adds up how long every slot waited between the end of a job and the beginning of the
next. `pruning` runs the same jobs with and without a pruner, and compares iterations and best job; the sampler is
random, so both propose the same. `proposals` measures one proposal beside so many jobs that are known.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from launcher.cli.sweep import register
from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import BestMode, RunRequest
from launcher.config.values import read_json_if_valid, write_json
from launcher.run.identity import run_folder
from launcher.run.outcome import Pruned, Work, WorkerEnd, WorkerResult, classify
from launcher.run.paths import RunPaths
from launcher.search.space import parse, space_of
from launcher.search.study import propose
from launcher.search.values import Aim, Observed, Proposing, Stage
from launcher.sweep.books import Books
from launcher.sweep.standing import standings
from launcher.sweep.table import best_of
from launcher.sweep.values import JobState
from launcher.sweep.watch import Watcher

ITERATIONS, EVERY = 100, 10
SPACE = "SOLVER.BASE_LR=tag(log, interval(0.0001, 0.1))"


class Scripted:
    """A task that takes its time, reports a metric that rises towards what its learning rate is worth, and can stop."""

    def __init__(self, shortest_s: float, longest_s: float) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._stopped = False

    def __call__(self, request: RunRequest) -> float:
        began, computed_s = time.time(), time.process_time()  # of this process alone: it was forked
        signal.signal(signal.SIGTERM, self._stop)
        rate = request.keys["SOLVER.BASE_LR"]
        seconds = random.Random(rate).uniform(self._shortest_s, self._longest_s)
        attempt = RunPaths(run_folder(request)).attempt(1)
        attempt.folder.mkdir(parents=True)
        value, done = 0.0, 0
        while done < ITERATIONS and not self._stopped:
            time.sleep(seconds / ITERATIONS)
            done += 1
            if done % EVERY == 0:
                value = worth(rate) * done / ITERATIONS
                with RunPaths(run_folder(request)).metrics.open("a") as file:
                    file.write(json.dumps({"bbox/AP": value, "iteration": done - 1}) + "\n")
        work = Work(iterations=done, metrics={"bbox/AP": value}, stopped_early=None, bad_images=0, bad_test_images=0)
        end = WorkerEnd(exit_status=0, stop_signal=signal.SIGTERM if self._stopped else None, seconds=seconds)
        result = WorkerResult(finished=done == ITERATIONS, stopped_by="", work=work)
        pruned = read_json_if_valid(attempt.pruned, Pruned)
        write_json(attempt.outcome, classify(end, result=result, failure=None, pruned=pruned))
        (attempt.folder / "times.json").write_text(json.dumps([began, time.time(), computed_s]))
        return value

    def _stop(self, *_: object) -> None:
        self._stopped = True


def worth(rate: float) -> float:
    """The metric at the end: best at 0.004."""
    return 60 / (1 + (rate / 0.004 - 1) ** 2 if rate < 0.004 else rate / 0.004)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("idle", "pruning", "proposals"))
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--seconds", type=float, nargs=2, default=(4.0, 12.0), metavar=("SHORTEST", "LONGEST"))
    asked = parser.parse_args()
    if asked.what == "proposals":
        proposals()
    elif asked.what == "idle":
        idle(asked)
    else:
        pruning(asked)


def search(asked: argparse.Namespace, root: Path, *settings: str) -> Books:
    register()
    command = [
        *("-m", "hydra/sweeper=search", "experiment=demo", "device=cpu", "pool.devices=cpu", "SEED=1", SPACE),
        *(f"search.n_trials={asked.jobs}", f"pool.max_parallel={asked.parallel}", f"run.root={root}"),
        *("sweep.metric=bbox/AP", *settings),
    ]
    books = Books(command=["launcher", "train", *command], typed=take_apart(command).overrides,
                  watcher=Watcher(Console(quiet=True)))  # fmt: skip
    with books:
        run_hydra(command, Scripted(*asked.seconds), books=books)
    return books


def idle(asked: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as root:
        before_s = time.process_time()
        books = search(asked, Path(root))
        controller_s = time.process_time() - before_s
        sweep = books.sweep
        assert sweep is not None
        files = [RunPaths(sweep.folder_of(job)).attempt(1).folder / "times.json" for job in sweep.jobs]
        times = sorted(json.loads(file.read_text()) for file in files)
    gaps = gaps_of(times)
    busy = sum(end - began for began, end, _ in times)
    job_s = statistics.median(computed_s for _, _, computed_s in times)
    print(f"{len(times)} jobs of {asked.seconds[0]:g} to {asked.seconds[1]:g} s, {asked.parallel} at a time")
    print(
        f"from a job's end to the next one's begin: median {statistics.median(gaps):.2f} s, longest {max(gaps):.2f} s"
    )
    print(f"together {100 * sum(gaps) / (busy + sum(gaps)):.2f} % of the slots' time")
    print(
        f"computed per job: {controller_s / len(times):.2f} s by the controller, {job_s:.2f} s by its process at first"
    )


def gaps_of(times: list[list[float]]) -> list[float]:
    """Every begin takes the slot that has been free for longest."""
    gaps, free = [], []
    events = sorted([(began, "begin") for began, _, _ in times] + [(end, "end") for _, end, _ in times])
    for at, what in events:
        if what == "end":
            free.append(at)
        elif free:
            gaps.append(at - free.pop(0))
    return gaps


def pruning(asked: argparse.Namespace) -> None:
    found = {}
    pruners = {
        "none": (),
        "median": ("search.pruner=median",),
        "asha": ("search.pruner=asha", f"search.pruner_settings={{min_resource: {EVERY}, reduction_factor: 3}}"),
    }
    for name, settings in pruners.items():
        with tempfile.TemporaryDirectory() as root:
            began = time.monotonic()
            books = search(asked, Path(root), "search.sampler=random", *settings)
            seconds = time.monotonic() - began
            assert books.sweep is not None
            stand = standings(books.sweep, time.time())
        best = best_of(books.sweep, stand)
        assert best is not None
        done = sum(one.iterations for one in stand)
        found[name] = (done, best.job.overrides)
        pruned = sum(one.state is JobState.pruned for one in stand)
        saved = 100 * (1 - done / found["none"][0])
        same = "the same best job" if best.job.overrides == found["none"][1] else "ANOTHER BEST JOB"
        print(
            f"{name:7} {done} iterations ({saved:.0f} % fewer), {pruned}/{len(stand)} pruned, {seconds:.0f} s, {same}"
        )


def proposals() -> None:
    space = space_of(parse([SPACE, "SOLVER.IMS_PER_BATCH=4,8,16", "SOLVER.WARMUP_ITERS=int(interval(0,1000))"], None))
    how = Proposing(space=space, aim=Aim(metric="bbox/AP", mode=BestMode.max), sampler="tpe", settings={}, seed=1)
    known: list[Observed] = []
    source = random.Random(1)
    while len(known) < 1000:
        values = [repr(source.uniform(0.0001, 0.1)), source.choice(["4", "8", "16"]), str(source.randrange(1000))]
        point = space.point(values)
        known.append(Observed(number=len(known), point=point, stage=Stage.complete, value=source.random(), curve=()))
    propose(how, known[:10], 10)
    for number in (10, 100, 1000):
        times = []
        for _ in range(5):
            began = time.process_time()
            propose(how, known[:number], number)
            times.append(time.process_time() - began)
        print(
            f"one proposal beside {number} jobs: {1000 * statistics.median(times):.0f} ms of computing, study rebuilt"
        )


if __name__ == "__main__":
    sys.exit(main())
