"""`hydra/sweeper=search` as Hydra meets it: what is asked for, and what is refused before anything starts."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import re
import signal
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from launcher.cli.main import main
from launcher.cli.sweep import plan_sweep, register
from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.config.values import read_json_if_valid, write_json
from launcher.errors import ExitCode, LauncherError, RequestError, TrainingFailedError
from launcher.launch.folder_lock import lock_folder
from launcher.pool.ledger import Job, Run
from launcher.run.identity import run_folder
from launcher.run.outcome import Pruned, Work, WorkerEnd, WorkerResult, classify
from launcher.run.paths import RunPaths
from launcher.search.batches import Batches, batch_size
from launcher.search.plugin import overrides_of, probes_of, text_of
from launcher.search.space import parse, space_of
from launcher.sweep.books import Books
from launcher.sweep.standing import standings
from launcher.sweep.values import JobState, Standing
from launcher.sweep.watch import Watcher
from tests.pool.test_app import wait_for

INTERVAL = "SOLVER.BASE_LR=tag(log, interval(0.001, 1))"


def search(root: Path, *settings: str, task: Any = None) -> list[Standing]:
    """What is left of a search with that task instead of a training."""
    register()
    command = [
        *("-m", "hydra/sweeper=search", "experiment=demo", "device=cpu", "pool.devices=cpu", "SEED=1"),
        *(f"run.root={root}", *settings),
    ]
    console = Console(quiet=True)
    books = Books(
        command=["launcher", "train", *command], typed=take_apart(command).overrides, watcher=Watcher(console)
    )
    with books:
        run_hydra(command, task or not_called, books=books)
    return standings(books.sweep, time.time()) if books.sweep is not None else []


def not_called(_: RunRequest) -> float:
    raise AssertionError("a job was started")


class Training:
    """Twenty iterations, evaluated after every second one, that understand a stop."""

    def __init__(self, pause_s: float = 0.0, *, locks: bool = False) -> None:
        self._pause_s = pause_s
        self._locks = locks
        self._stopped = False

    def __call__(self, request: RunRequest) -> float:
        signal.signal(signal.SIGTERM, self._stop)
        paths = RunPaths(run_folder(request))
        with lock_folder(paths.folder) if self._locks else nullcontext():
            return self._train(paths, request.keys["SOLVER.BASE_LR"])

    def _train(self, paths: RunPaths, rate: float) -> float:
        attempt = paths.attempt(len(paths.attempt_numbers()) + 1)
        attempt.folder.mkdir(parents=True)
        done, value = 0, 0.0
        while done < 20 and not self._stopped:
            time.sleep(self._pause_s)
            done += 2
            value = rate * done
            with paths.metrics.open("a") as file:
                file.write(json.dumps({"bbox/AP": value, "iteration": done - 1}) + "\n")
        work = Work(iterations=done, metrics={"bbox/AP": value}, stopped_early=None, bad_images=0, bad_test_images=0)
        result = WorkerResult(finished=done == 20, stopped_by="", work=work)
        end = WorkerEnd(exit_status=0, stop_signal=signal.SIGTERM if self._stopped else None)
        pruned = read_json_if_valid(attempt.pruned, Pruned)
        write_json(attempt.outcome, classify(end, result=result, failure=None, pruned=pruned))
        return value

    def _stop(self, *_: object) -> None:
        self._stopped = True


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ((), 'no setting has several values to search. Give one an interval .* "SOLVER.BASE_LR=tag'),
        (("SOLVER.WARMUP_ITERS=interval(1,9)",), r'whole numbers: "SOLVER\.WARMUP_ITERS=int\(interval\(1, 9\)\)"'),
        ((INTERVAL, "search.sampler=tpee"), "there are tpe, random, gp. Set search.sampler=tpe"),
        ((INTERVAL, "search.pruner=median", "search.pruner_settings.warm=1"), "median has no such setting"),
        ((INTERVAL, "search.n_trials=0"), "search.n_trials"),
        ((INTERVAL, "sweep.seeds=3"), "sweep.seeds=3: a search runs every point once"),
        ((INTERVAL, "sweep.metric=box/AP"), "sweep.metric=box/AP: no such metric; .* Set sweep.metric=bbox/AP"),
        ((INTERVAL, "solver=quick,typo"), "solver"),
        (("SOLVER.BASE_LRR=interval(1,2)",), "nearest: SOLVER.BASE_LR"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_starts(tmp_path: Path, settings, says: str):
    with pytest.raises(RequestError) as refused:
        search(tmp_path, *settings)

    assert re.search(says, str(refused.value), re.DOTALL), str(refused.value)
    assert not list(tmp_path.rglob("sweep.json"))


def test_a_search_without_m_is_answered_with_the_command(capsys: pytest.CaptureFixture[str]):
    assert main(["train", "hydra/sweeper=search", "experiment=demo", INTERVAL]) == 2

    assert "With -m they are: launcher train -m hydra/sweeper=search experiment=demo" in capsys.readouterr().err


def test_without_optuna_one_sentence_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "optuna" else find_spec(name))

    with pytest.raises(RequestError, match=r"Install it: pip install 'detectron2-launcher\[search\]'"):
        search(tmp_path, INTERVAL)


def test_a_search_runs_its_jobs_and_the_same_command_adds_only_what_is_new(tmp_path: Path):
    first = search(tmp_path, INTERVAL, "search.n_trials=3", task=Training())
    more = search(tmp_path, INTERVAL, "search.n_trials=4", task=Training())
    again = search(tmp_path, INTERVAL, "search.n_trials=4")

    assert [one.state for one in first] == [JobState.finished] * 3
    assert first[0].job.overrides == ("SOLVER.BASE_LR=0.5",), "the configuration as it is"
    assert [one.job for one in more[:3]] == [one.job for one in first]
    assert [one.value for one in again] == [one.value for one in more]
    assert len(more) == len(again) == 4


def test_a_job_that_is_not_worth_its_end_is_pruned_and_stays_so(tmp_path: Path):
    asked = (INTERVAL, "search.n_trials=2", "search.pruner=threshold", "search.pruner_settings.lower=1e9")

    found = search(tmp_path, *asked, task=Training(pause_s=0.5))
    again = search(tmp_path, *asked)

    assert [one.state for one in found] == [JobState.pruned] * 2
    assert all(0 < one.iterations < 20 for one in found)
    assert [one.state for one in again] == [JobState.pruned] * 2


def test_a_job_that_outlived_its_controller_is_pruned_by_the_next_one(tmp_path: Path):
    training = Training(pause_s=1.0, locks=True)
    asked = (INTERVAL, "search.n_trials=1", "pool.max_parallel=1")
    first = multiprocessing.get_context("fork").Process(target=partial(search, tmp_path, *asked, task=training))
    first.start()
    wait_for(lambda: any(tmp_path.rglob("metrics.json")))
    first.kill()
    first.join()

    found = search(tmp_path, *asked, "search.pruner=threshold", "search.pruner_settings.lower=1e9", task=training)

    assert [one.state for one in found] == [JobState.pruned]
    assert 0 < found[0].iterations < 20
    assert len(RunPaths(next(tmp_path.rglob("metrics.json")).parent).attempt_numbers()) == 1


def test_a_search_in_which_no_job_reports_the_metric_says_so(tmp_path: Path):
    with pytest.raises(LauncherError, match=r"No job of the search reported bbox/AP.*TEST\.EVAL_PERIOD"):
        search(tmp_path, INTERVAL, "search.n_trials=2", "sweep.metric=bbox/AP", task=lambda _: None)


def test_with_hydras_own_launcher_a_search_goes_in_batches_and_says_so(tmp_path: Path, capsys):
    register()
    command = ["-m", "hydra/sweeper=search", "hydra/launcher=basic", "experiment=demo", "device=cpu", "SEED=1"]
    command += [f"run.root={tmp_path}", INTERVAL, "search.n_trials=3", "search.batch=2"]
    watcher = Watcher(Console(file=sys.stdout, width=300))
    books = Books(command=command, typed=take_apart(command).overrides, watcher=watcher)

    with books:
        run_hydra(command, Training(), books=books)

    said = capsys.readouterr().out
    assert "hydra/launcher=basic takes jobs in batches: 2 proposed together, and none pruned" in said
    assert "job 1/3  BASE_LR=0.5  finished" in said
    assert [one.state for one in standings(books.sweep, time.time())] == [JobState.finished] * 3


def test_a_job_that_fails_in_a_batch_is_one_failure_with_its_line(tmp_path: Path, capsys):
    def fail(request: RunRequest) -> float:
        if request.keys["SOLVER.BASE_LR"] != 0.5:
            raise TrainingFailedError("out of luck", exit_code=ExitCode.training_failed)
        return Training()(request)

    register()
    command = ["-m", "hydra/sweeper=search", "hydra/launcher=basic", "experiment=demo", "device=cpu", "SEED=1"]
    command += [f"run.root={tmp_path}", "SOLVER.BASE_LR=0.5,0.25", "search.n_trials=2"]
    watcher = Watcher(Console(file=sys.stdout, width=300))
    books = Books(command=command, typed=take_apart(command).overrides, watcher=watcher)

    with books, pytest.raises(TrainingFailedError, match=r"^BASE_LR=0\.25: out of luck$"):
        run_hydra(command, fail, books=books)

    assert "job 2/2  BASE_LR=0.25  failed [run.failed]" in capsys.readouterr().out


def test_the_plan_of_a_search_shows_the_ends_of_its_space_and_starts_nothing(tmp_path: Path, capsys):
    command = ["-m", "hydra/sweeper=search", "experiment=demo", "device=cpu", "dataset.check=false", INTERVAL]

    with pytest.raises(LauncherError):  # the demo data is not here, which a plan says
        plan_sweep([*command, f"run.root={tmp_path}", f"dataset.root={tmp_path}"], as_json=False)

    assert "a search of 20 jobs" in capsys.readouterr().err
    assert not list(tmp_path.rglob("sweep.json"))


@pytest.mark.parametrize(
    ("settings", "asked", "size"),
    [
        ({}, 0, 1),
        ({"n_jobs": 4}, 0, 4),
        ({"n_jobs": -1}, 0, 1),
        ({"array_parallelism": 256}, 8, 8),
        ({"array_parallelism": 256}, 0, 256),
        ({"n_jobs": None}, 0, 1),
    ],
)
def test_a_batch_is_as_large_as_the_launcher_runs_at_once(settings, asked: int, size: int):
    assert batch_size(settings, asked) == size


def test_a_batch_is_launched_with_what_the_books_add():
    launched: list[Any] = []

    class Launcher:
        def launch(self, overrides, initial_job_idx):
            launched.append((overrides, initial_job_idx))
            return [Returned() for _ in overrides]

    class Returned:
        status = None

    batches = Batches(Launcher(), size=2)  # type: ignore[arg-type]
    for number in (3, 4):
        batches.start(Job(number=number, overrides=(f"a={number}",), run=Run(overrides=("SEED=1",))))

    ended = batches.wait(0.0)

    assert launched == [([["a=3", "SEED=1"], ["a=4", "SEED=1"]], 3)]
    assert [one.job.number for one in ended] == [3, 4]
    assert (batches.free, batches.running) == (2, ())


def test_every_listed_value_and_both_ends_are_composed_once():
    space = space_of(parse(["lr=interval(0.5, 2)", "act=relu,gelu"], None))

    assert probes_of(space, None) == [
        ("lr=0.5", "act=relu"),
        ("lr=2.0", "act=relu"),
        ("lr=0.5", "act=gelu"),
    ]
    assert probes_of(space, ("lr=1.0", "act=gelu"))[0] == ("lr=1.0", "act=gelu")
    assert probes_of(space_of(parse(["n=range(0, 1000)"], None)), None) == [("n=0",), ("n=999",)]


def test_a_job_is_given_what_was_typed_with_its_own_values_in_their_places():
    typed = tuple(parse(["a=1", "lr=interval(0, 1)", "+b=x,y", "a=2"], None))

    assert overrides_of(typed, ("lr=0.5", "+b=x")) == ("a=2", "lr=0.5", "+b=x")


@pytest.mark.parametrize(
    ("value", "text"), [(True, "True"), (0.1, "0.1"), (3, "3"), ("a b", "a\\ b"), ([1, 2], "[1,2]"), (None, "null")]
)
def test_a_composed_value_is_spelled_as_hydra_spells_it(value: Any, text: str):
    assert text_of(value) == text
