from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from launcher.cluster.slurm import JobState
from launcher.cluster.slurm_queue import SlurmQueue
from launcher.config.values import write_json
from launcher.run.paths import RunPaths
from launcher.run.submission import Submission


class Slurm:
    """Answers with what it has, and counts the questions."""

    def __init__(self, jobs: Mapping[str, JobState] | None) -> None:
        self.jobs = jobs
        self.asked: list[Collection[str]] = []

    def look(self, jobs: Collection[str]) -> Mapping[str, JobState] | None:
        self.asked.append(jobs)
        return self.jobs


def queue_of(slurm: Slurm, *times: float) -> SlurmQueue:
    clock = iter(times)
    return SlurmQueue(every_s=10, look=slurm.look, now=lambda: next(clock))


def pending_in(folder: Path) -> JobState:
    return JobState(state="PENDING", reason="Priority", in_queue=True, folder=str(folder))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of a sweep that was submitted as `17_3`."""
    folder = tmp_path / "sweep" / "BASE_LR=0.1"
    write_json(RunPaths(folder).submission, Submission(scheduler="slurm", job_id="17_3", at=0.0, attempts=0))
    return folder


def test_an_element_of_the_sweeps_array_is_the_runs(run: Path):
    queue = SlurmQueue(look=Slurm({"17_3": pending_in(run.parent)}).look)

    queue.refresh([run])

    assert queue.has(run) is True
    assert queue.text_of(run) == "17_3 PENDING (Priority)"


@pytest.mark.parametrize("jobs", [{}, {"17_3": pending_in(Path("/of/another/sweep"))}])
def test_a_job_that_slurm_does_not_have_for_this_sweep_is_gone(run: Path, jobs: Mapping[str, JobState]):
    queue = SlurmQueue(look=Slurm(jobs).look)

    queue.refresh([run])

    assert queue.has(run) is False
    assert queue.text_of(run) == ""


def test_nothing_is_known_before_it_is_asked_or_where_it_does_not_answer(run: Path, tmp_path: Path):
    queue = SlurmQueue(look=Slurm(None).look)

    assert queue.has(run) is None
    queue.refresh([run])
    assert queue.has(run) is None
    assert queue.has(tmp_path / "never submitted") is None


def test_slurm_is_asked_once_in_ten_seconds_unless_something_was_submitted(run: Path):
    slurm = Slurm({})
    queue = queue_of(slurm, 0.0, 9.0, 9.5, 19.4, 20.0, 20.0)

    queue.refresh([run])
    queue.refresh([run])
    assert len(slurm.asked) == 1
    queue.refresh([run])
    queue.expire()
    queue.refresh([run])

    assert slurm.asked == [{"17_3"}, {"17_3"}]
