from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.request import BestMode
from launcher.launch.folder_lock import lock_folder
from launcher.run.paths import RunPaths
from launcher.sweep.retention import apply_keep, jobs_to_clear
from launcher.sweep.values import JobState
from tests.sweep.examples import a_job, a_sweep, standing

FINISHED, FAILED, STOPPED = JobState.finished, JobState.failed, JobState.stopped


@pytest.mark.parametrize(
    ("keep", "mode", "found", "cleared"),
    [
        ("", BestMode.max, [standing(0, value=1.0), standing(1, value=2.0)], []),
        ("best:1", BestMode.max, [standing(0, value=1.0), standing(1, value=2.0)], [0]),
        ("best:1", BestMode.min, [standing(0, value=1.0), standing(1, value=2.0)], [1]),
        ("best:2", BestMode.max, [standing(0, value=1.0), standing(1, value=2.0)], []),
        ("best:1", BestMode.max, [standing(0), standing(1, value=2.0)], [0]),
        ("best:1", BestMode.max, [standing(0, value=1.0), standing(1, value=1.0)], [1]),
        ("best:1", BestMode.max, [standing(0, STOPPED, 9.0), standing(1, value=2.0)], []),
        ("best:1", BestMode.max, [standing(0, FAILED, 9.0), standing(1, JobState.running, 9.0)], []),
        ("best:1", BestMode.max, [standing(0), standing(1)], []),
        ("best:1", BestMode.max, [standing(0, value=1.0), standing(1, metric="mIoU")], []),
        ("best:1", BestMode.max, [standing(0, JobState.pruned, 9.0), standing(1, value=2.0)], [0]),
    ],
)
def test_checkpoints_go_of_jobs_that_ended_and_are_not_the_best(keep, mode, found, cleared):
    assert [one.job.number for one in jobs_to_clear(a_sweep(mode=mode), keep, found)] == cleared


def with_checkpoints(folder: Path) -> RunPaths:
    paths = RunPaths(folder)
    paths.checkpoints.mkdir(parents=True)
    paths.checkpoint(99).write_bytes(bytes(3 * 2**20))
    paths.metrics.write_text("{}")
    return paths


def test_only_checkpoints_are_deleted_and_what_is_deleted_is_said(tmp_path: Path):
    sweep = a_sweep(tmp_path)
    worse, best = (with_checkpoints(sweep.folder_of(a_job(number))) for number in (0, 1))
    found = [standing(0, value=1.0), standing(1, value=2.0)]

    lines = list(apply_keep(sweep, "best:1", found))

    assert lines == ["sweep.keep=best:1: deleted the checkpoints of BASE_LR=0.1 (3 MiB)"]
    assert not worse.checkpoints.exists()
    assert worse.metrics.exists()
    assert best.checkpoint(99).exists()
    assert list(apply_keep(sweep, "best:1", found)) == []


def test_what_somebody_is_at_keeps_its_checkpoints(tmp_path: Path):
    sweep = a_sweep(tmp_path)
    paths = with_checkpoints(sweep.folder_of(a_job(0)))

    with lock_folder(paths.folder):
        (line,) = apply_keep(sweep, "best:1", [standing(0, value=1.0), standing(1, value=2.0)])

    assert "BASE_LR=0.1 stay" in line
    assert paths.checkpoint(99).exists()


def test_checkpoints_behind_a_link_are_somebody_elses(tmp_path: Path):
    sweep = a_sweep(tmp_path / "sweep")
    others = with_checkpoints(tmp_path / "others")
    paths = RunPaths(sweep.folder_of(a_job(0)))
    paths.folder.mkdir(parents=True)
    paths.checkpoints.symlink_to(others.checkpoints)

    (line,) = apply_keep(sweep, "best:1", [standing(0, value=1.0), standing(1, value=2.0)])

    assert "stay" in line
    assert others.checkpoint(99).exists()
