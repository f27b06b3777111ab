"""Which checkpoints of a sweep stay: `sweep.keep=best:N`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

from launcher.config.sweep_checks import num_kept
from launcher.launch.folder_lock import FolderBusyError, lock_folder
from launcher.run.paths import RunPaths
from launcher.sweep.standing import main_metric_of
from launcher.sweep.values import JobState, Standing, Sweep, rank_key

MEBIBYTE = 2**20


def jobs_to_clear(sweep: Sweep, keep: str, found: Sequence[Standing]) -> list[Standing]:
    """The finished jobs that are not among the best; what is pruned, too, has come to its end. Decides only.

    A job that reports another metric than the others is not compared, and none is where nothing was evaluated.
    """
    number = num_kept(keep)
    if number is None:
        return []
    finished = [one for one in found if one.state is JobState.finished]
    if all(one.value is None for one in finished):
        return []
    kept = sorted(finished, key=lambda one: rank_key(one, sweep.mode))[:number]
    metric = main_metric_of(found, sweep.metric)
    ended = [one for one in found if one.state in (JobState.finished, JobState.pruned) and one.metric in ("", metric)]
    return [one for one in ended if one not in kept]


def apply_keep(sweep: Sweep, keep: str, found: Sequence[Standing]) -> Iterator[str]:
    """Delete the checkpoints of those jobs, and say so; metrics, logs and evaluations stay."""
    for standing in jobs_to_clear(sweep, keep, found):
        paths = RunPaths(sweep.folder_of(standing.job))
        if not paths.checkpoints.is_dir():
            continue
        try:
            with lock_folder(paths.folder):
                size = sum(file.stat().st_size for file in paths.checkpoints.iterdir() if file.is_file())
                shutil.rmtree(paths.checkpoints)
        except (FolderBusyError, OSError) as error:
            yield f"sweep.keep={keep}: the checkpoints of {standing.job.folder} stay ({error})"
            continue
        yield f"sweep.keep={keep}: deleted the checkpoints of {standing.job.folder} ({size / MEBIBYTE:.0f} MiB)"
