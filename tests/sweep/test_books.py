from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from rich.console import Console

from launcher.cluster.slurm import JobState as SlurmJob
from launcher.cluster.slurm_queue import SlurmQueue
from launcher.config.request import Rerun, RunRequest, RunSettings, SweepSettings
from launcher.config.values import write_json
from launcher.errors import DataError, RequestError, TrainingFailedError
from launcher.launch.folder_lock import lock_folder
from launcher.pool import ledger
from launcher.run import codes
from launcher.run.outcome import Outcome, Work
from launcher.run.paths import RunPaths
from launcher.run.submission import Submission
from launcher.sweep.books import Books
from launcher.sweep.stored import NAME, read_sweep
from launcher.sweep.values import JobState
from launcher.sweep.watch import Watcher
from tests.recorded_runs import begin, record_run, stopped_after
from tests.values import TYPED, a_request, failed_with, finished_after

FIXED = ("experiment=demo", "device=cpu")
TYPED_WORDS = (*FIXED, "SOLVER.BASE_LR=0.1,0.2")
JOBS = [[*FIXED, "SOLVER.BASE_LR=0.1"], [*FIXED, "SOLVER.BASE_LR=0.2"]]


def examining(root: Path, *, wrong: str = "", **settings: Any):
    """As composing does, but for Hydra."""

    def examine(overrides: Sequence[str]) -> tuple[RunRequest | None, list[str]]:
        values = dict(text.split("=", 1) for text in overrides)
        rate = float(values["SOLVER.BASE_LR"])
        request = a_request(
            {"SEED": int(values.get("SEED", -1)), "SOLVER": {"BASE_LR": rate, "MAX_ITER": 100}},
            typed=replace(TYPED, experiment="demo", overrides=tuple(overrides)),
            run=RunSettings(root=str(root)),
            **settings,
        )
        return request, [f"{wrong} is wrong"] if wrong and wrong in overrides else []

    return examine


def make_books(
    root: Path,
    typed: Sequence[str] = TYPED_WORDS,
    *,
    only_looks: bool = False,
    console: Console | None = None,
    **how: Any,
) -> Books:
    watcher = Watcher(console or Console(quiet=True))
    books = Books(command=["launcher", "train", "-m", *typed], typed=typed, watcher=watcher, only_looks=only_looks)
    books.examine_with(examining(root, **how))
    return books


def folder_in(root: Path, job: str) -> Path:
    return root / "demo" / "sweep-BASE_LR" / job


def ended(number: int, error: BaseException | None = None) -> ledger.Ended:
    result = JobReturn(status=JobStatus.COMPLETED if error is None else JobStatus.FAILED)
    result.return_value = error
    job = ledger.Job(number=number, overrides=())
    return ledger.Ended(job=job, result=result, seconds=1.0, log=Path("x"), exit_code=0 if error is None else 1)


def test_new_jobs_run_with_one_seed_and_a_folder_each(tmp_path: Path):
    with make_books(tmp_path) as books:
        decisions = books.admit(JOBS, 0)

    sweep = read_sweep(tmp_path / "demo" / "sweep-BASE_LR")
    assert sweep is not None
    assert [job.overrides for job in sweep.jobs] == [("SOLVER.BASE_LR=0.1",), ("SOLVER.BASE_LR=0.2",)]
    assert (sweep.fixed, sweep.swept) == (FIXED, ("SOLVER.BASE_LR",))
    for decision, name in zip(decisions, ("BASE_LR=0.1", "BASE_LR=0.2"), strict=True):
        assert isinstance(decision, ledger.Run)
        assert decision.overrides == (
            f"SEED={sweep.seed}",
            f"hydra.sweep.dir='{sweep.folder}'",
            f"hydra.sweep.subdir='{name}'",
        )


def test_the_same_command_has_the_same_seed_and_runs_only_what_is_left(tmp_path: Path):
    with make_books(tmp_path) as books:
        books.admit(JOBS, 0)
        seed = books.sweep.seed
    record_run(folder_in(tmp_path, "BASE_LR=0.1"), finished_after(100, metrics={"bbox/AP": 41.0}))
    record_run(folder_in(tmp_path, "BASE_LR=0.2"), stopped_after(50))

    with make_books(tmp_path) as books:
        known, left = books.admit(JOBS, 0)

    assert known == ledger.Known(value=41.0)
    assert isinstance(left, ledger.Run)
    assert left.overrides[0] == f"SEED={seed}"


def test_a_grown_space_adds_jobs(tmp_path: Path):
    with make_books(tmp_path) as books:
        books.admit(JOBS[:1], 0)
    with make_books(tmp_path) as books:
        books.admit(JOBS, 0)

        assert [job.folder for job in books.sweep.jobs] == ["BASE_LR=0.1", "BASE_LR=0.2"]


def test_a_job_that_another_process_is_at_is_waited_for(tmp_path: Path):
    record_run(folder_in(tmp_path, "BASE_LR=0.1"), stopped_after(50))

    with make_books(tmp_path) as books, lock_folder(folder_in(tmp_path, "BASE_LR=0.1")):
        waits, runs = books.admit(JOBS, 0)

    assert waits == ledger.Wait(folder=folder_in(tmp_path, "BASE_LR=0.1"))
    assert isinstance(runs, ledger.Run)


def test_a_failure_that_would_come_again_is_reported_and_not_repeated(tmp_path: Path):
    record_run(folder_in(tmp_path, "BASE_LR=0.1"), failed_with(codes.DIVERGED, iterations=3))

    with make_books(tmp_path) as books:
        known, _ = books.admit(JOBS, 0)

    assert isinstance(known, ledger.Known)
    ((name, error),) = books.failures
    assert name == "BASE_LR=0.1"
    assert "run.diverged" in str(error)
    assert "sweep.rerun=failed repeats it" in str(error)


def test_a_failure_is_repeated_if_asked_for(tmp_path: Path):
    record_run(folder_in(tmp_path, "BASE_LR=0.1"), failed_with(codes.DIVERGED, iterations=3))

    with make_books(tmp_path, sweep=SweepSettings(rerun=Rerun.failed)) as books:
        again, _ = books.admit(JOBS, 0)

    assert isinstance(again, ledger.Run)
    assert books.failures == []


def test_starting_over_starts_finished_jobs_over(tmp_path: Path):
    record_run(folder_in(tmp_path, "BASE_LR=0.1"), finished_after(100))

    with make_books(tmp_path, resume="never") as books:
        again, _ = books.admit(JOBS, 0)

    assert isinstance(again, ledger.Run)


def test_one_wrong_job_refuses_all_before_anything_is_written(tmp_path: Path):
    with make_books(tmp_path, wrong="SOLVER.BASE_LR=0.2") as books, pytest.raises(RequestError) as refused:
        books.admit(JOBS, 0)

    assert str(refused.value) == "SOLVER.BASE_LR=0.2: SOLVER.BASE_LR=0.2 is wrong\nNo job was started."
    assert list(tmp_path.iterdir()) == []


def test_the_first_job_may_be_the_wrong_one(tmp_path: Path):
    with make_books(tmp_path, wrong="SOLVER.BASE_LR=0.1") as books, pytest.raises(RequestError, match=r"0\.1: "):
        books.admit(books.repeated(JOBS), 0)

    assert list(tmp_path.iterdir()) == []


def test_looking_writes_nothing(tmp_path: Path):
    with make_books(tmp_path, only_looks=True) as books:
        books.admit(books.repeated(JOBS), 0)

    assert set(books.requests) == set(books.decisions) == {"BASE_LR=0.1", "BASE_LR=0.2"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("again", [["SOLVER.BASE_LR='0.1'"], ["SOLVER.BASE_LR=0.2", "SOLVER.BASE_LR=0.1"]])
def test_a_job_that_is_typed_in_two_ways_runs_once(tmp_path: Path, again: list[str]):
    with make_books(tmp_path) as books:
        jobs = books.repeated([JOBS[0], [*FIXED, *again], JOBS[1]])

    assert [job[-2] for job in jobs] == ["SOLVER.BASE_LR=0.1", "SOLVER.BASE_LR=0.2"]


def test_points_are_repeated_and_the_first_of_each_keeps_its_folder(tmp_path: Path):
    with make_books(tmp_path) as books:
        books.admit(books.repeated(JOBS), 0)
        seed = books.sweep.seed
    with make_books(tmp_path, sweep=SweepSettings(seeds=2)) as books:
        books.admit(books.repeated(JOBS), 0)

        assert [job.folder for job in books.sweep.jobs] == [
            "BASE_LR=0.1",
            "BASE_LR=0.2",
            f"BASE_LR=0.1,SEED={seed + 1}",
            f"BASE_LR=0.2,SEED={seed + 1}",
        ]


@pytest.mark.parametrize(("on_failure", "verdict"), [("continue", ledger.Go), ("stop", ledger.Stop)])
def test_what_a_failure_means_for_the_others(tmp_path: Path, on_failure: str, verdict: type):
    with make_books(tmp_path, sweep=SweepSettings(on_failure=on_failure)) as books:
        books.admit(JOBS, 0)

        assert isinstance(books.ended(ended(0, TrainingFailedError("out of luck"))), verdict)
        assert [(name, str(error)) for name, error in books.failures] == [("BASE_LR=0.1", "out of luck")]


def test_a_job_that_was_stopped_has_not_failed(tmp_path: Path):
    with make_books(tmp_path, sweep=SweepSettings(on_failure="stop")) as books:
        books.admit(JOBS, 0)

        assert books.ended(ended(0, SystemExit(75))) == ledger.Go()
        assert (books.failures, books.stopped) == ([], ["BASE_LR=0.1"])


def test_a_job_that_failed_before_it_began_has_failed_in_this_command(tmp_path: Path):
    with make_books(tmp_path) as books:
        books.admit(JOBS, 0)
        books.ended(ended(0, DataError("no images")))

        assert [(one.state, one.code) for one in books.standings()] == [
            (JobState.failed, "run.data"),
            (JobState.planned, ""),
        ]


def test_only_the_best_keep_checkpoints_as_jobs_end(tmp_path: Path):
    with make_books(tmp_path, sweep=SweepSettings(keep="best:1")) as books:
        books.admit(JOBS, 0)
        for number, (name, value) in enumerate({"BASE_LR=0.1": 1.0, "BASE_LR=0.2": 2.0}.items()):
            outcome = replace(finished_after(100), work=replace(Work.of(100), metrics={"bbox/AP": value}))
            paths = record_run(folder_in(tmp_path, name), outcome)
            paths.checkpoint(99).write_bytes(b"weights")
            books.ended(ended(number))

    assert not folder_in(tmp_path, "BASE_LR=0.1").joinpath("checkpoints").exists()
    assert folder_in(tmp_path, "BASE_LR=0.2").joinpath("checkpoints").exists()


def adopt(books: Books, root: Path) -> None:
    """The first job is being trained when the command begins."""
    begin(folder_in(root, "BASE_LR=0.1"))
    with lock_folder(folder_in(root, "BASE_LR=0.1")):
        assert isinstance(books.admit(JOBS, 0)[0], ledger.Wait)


def end_adopted(books: Books, root: Path, outcome: Outcome | None) -> tuple[ledger.Decision, ledger.Go | ledger.Stop]:
    """It has ended so; what is decided then, and what that means for the others."""
    if outcome is not None:
        file = RunPaths(folder_in(root, "BASE_LR=0.1")).attempt(1).outcome
        write_json(file, outcome)
    (decision,) = books.admit(JOBS[:1], 0)
    return decision, books.ended(replace(ended(0), log=None))


def test_the_end_of_a_job_that_was_waited_for_is_a_line_and_counts_for_what_is_kept(tmp_path: Path):
    text = io.StringIO()
    with make_books(tmp_path, console=Console(file=text, width=200), sweep=SweepSettings(keep="best:1")) as books:
        adopt(books, tmp_path)
        better = record_run(folder_in(tmp_path, "BASE_LR=0.2"), finished_after(100, metrics={"bbox/AP": 9.0}))
        worse = RunPaths(folder_in(tmp_path, "BASE_LR=0.1"))
        for paths in (better, worse):
            paths.checkpoint(99).write_bytes(b"weights")
        decision, verdict = end_adopted(books, tmp_path, finished_after(100, metrics={"bbox/AP": 1.0}))

    assert (decision, verdict) == (ledger.Known(value=1.0), ledger.Go())
    assert "job 1/2  BASE_LR=0.1  finished, bbox/AP 1" in text.getvalue()
    assert (better.checkpoints.exists(), worse.checkpoints.exists()) == (True, False)


@pytest.mark.parametrize(("on_failure", "verdict"), [("continue", ledger.Go), ("stop", ledger.Stop)])
def test_a_job_that_was_waited_for_fails_as_any_other(tmp_path: Path, on_failure: str, verdict: type):
    with make_books(tmp_path, sweep=SweepSettings(on_failure=on_failure)) as books:
        adopt(books, tmp_path)
        decision, meant = end_adopted(books, tmp_path, failed_with(codes.OUT_OF_MEMORY, iterations=3))

    assert isinstance(decision, ledger.Known)
    assert isinstance(meant, verdict)
    ((name, error),) = books.failures
    assert name == "BASE_LR=0.1"
    assert re.search(rf"failed \[{codes.OUT_OF_MEMORY}\]\. Why: launcher status \S+BASE_LR=0\.1$", str(error))


def test_a_job_that_was_waited_for_and_was_stopped_is_left_so(tmp_path: Path):
    with make_books(tmp_path) as books:
        adopt(books, tmp_path)
        decision, _ = end_adopted(books, tmp_path, stopped_after(50))

    assert decision == ledger.Known(value=None)
    assert (books.failures, books.stopped) == ([], ["BASE_LR=0.1"])


def test_a_job_that_slurm_starts_once_more_is_waited_for_although_an_attempt_has_ended(tmp_path: Path):
    folder = folder_in(tmp_path, "BASE_LR=0.1")
    record_run(folder, stopped_after(50))
    write_json(RunPaths(folder).submission, Submission(scheduler="slurm", job_id="17", at=0.0, attempts=0))
    requeued = SlurmJob(state="PENDING", reason="BeginTime", in_queue=True, folder=str(folder))
    with make_books(tmp_path) as books:
        books.queue = SlurmQueue(look=lambda _: {"17": requeued})
        first = books.admit(JOBS, 0)[0]
        second = books.admit(JOBS[:1], 0)[0]

    assert isinstance(first, ledger.Wait)
    assert (first.folder, first.why) == (folder, "is waited for: Slurm has it, as 17 PENDING (BeginTime)")
    assert second == first


def test_of_a_job_about_which_nobody_can_be_asked_no_process_is_claimed(tmp_path: Path):
    folder = folder_in(tmp_path, "BASE_LR=0.1")
    write_json(RunPaths(folder).submission, Submission(scheduler="slurm", job_id="17_1", at=0.0, attempts=0))
    with make_books(tmp_path) as books:
        books.queue = SlurmQueue(look=lambda _: None)
        decision = books.admit(JOBS, 0)[0]

    assert isinstance(decision, ledger.Wait)
    assert decision.why == "is waited for: its folder says queued, and squeue does not answer about its job 17_1"


def test_starting_over_starts_a_job_over_that_was_waited_for(tmp_path: Path):
    with make_books(tmp_path, resume="never") as books:
        adopt(books, tmp_path)
        write_json(RunPaths(folder_in(tmp_path, "BASE_LR=0.1")).attempt(1).outcome, finished_after(100))
        (decision,) = books.admit(JOBS[:1], 0)

    assert isinstance(decision, ledger.Run)


def test_a_job_that_was_waited_for_and_left_no_outcome_runs(tmp_path: Path):
    with make_books(tmp_path) as books:
        adopt(books, tmp_path)
        (decision,) = books.admit(JOBS[:1], 0)

    assert isinstance(decision, ledger.Run)


def test_two_sweeps_in_one_folder_are_refused(tmp_path: Path):
    named = SweepSettings(name="x")
    with make_books(tmp_path, sweep=named) as books:
        books.admit(JOBS, 0)
    other = [*TYPED_WORDS, "SOLVER.MAX_ITER=9"]

    with make_books(tmp_path, other, sweep=named) as books, pytest.raises(RequestError, match=r"sweep\.name=NAME"):
        books.admit([[*job, "SOLVER.MAX_ITER=9"] for job in JOBS], 0)

    assert (tmp_path / "demo" / "sweep-x" / NAME).exists()
