"""Full disks, as small file systems in memory: mounting them takes the rights of an administrator."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.config.request import RunRequest
from launcher.errors import LauncherError
from scripts.reliability.attempts import Attempt, Ended, begin, reason, run_to_end
from scripts.reliability.job import Job, make_job, paths_of
from scripts.reliability.result import Row, end_of

ROOMY = 64 << 20  # bytes
ANOTHER_END = "another end"


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    size: float = 100.0
    """Of the disk, in checkpoints beside what else a run writes."""
    full_from: int = 0
    """Iterations after which somebody else fills the disk; 0 for never."""
    room_from: int = 0
    """Iterations after which that room is free again; 0 for not in this attempt."""
    must_finish: bool = False


CASES = (
    Case(name="no room for a single checkpoint", size=0.5),
    Case(name="room for one", size=1.5),
    Case(name="room for two", size=2.5, must_finish=True),
    Case(name="room for three", size=3.5, must_finish=True),
    *(Case(name=f"full from iteration {start} on", full_from=start) for start in (1, 6, 9, 11, 16, 19)),
    *(Case(name=f"full from iteration {a} to {b}", full_from=a, room_from=b) for a, b in ((6, 8), (6, 12), (11, 16))),
)


def run_part(folder: Path, times: float, seed: int) -> list[Row]:  # noqa: ARG001 - nothing is random here
    job = make_job(folder)
    run_to_end(job.named("whole"))
    finished, told, same, misses = 0, 0, 0, []
    cases = CASES[:: max(1, round(1 / times))]
    for background in (False, True):
        for case in cases:
            try:
                outcome, problems = try_case(job, case, folder, background)
            except PermissionError as error:
                return [Row(part="disk", tried="nothing", measured="not measured", misses=(str(error),))]
            finished += outcome == "finished"
            told += outcome == "told"
            same += ANOTHER_END not in problems
            saves = "background" if background else "blocking"
            misses += [f"{case.name}, {saves} saves: {problem}" for problem in problems]
    return [
        Row(
            part="disk",
            tried=f"{len(cases)} sizes and times of a full disk, with blocking and asynchronous saves",
            measured=f"{finished} finished on it, {told} ended early, {told - len(misses)} of them with "
            f"an error message in their outcome; {same}/{2 * len(cases)} had the same "
            "weights and metrics, at once or when run again with free space",
            misses=tuple(misses),
        )
    ]


def try_case(job: Job, case: Case, folder: Path, background: bool) -> tuple[str, list[str]]:
    whole = paths_of(job.named("whole"))
    checkpoint = whole.final_weights.stat().st_size
    others = sum(f.stat().st_size for f in whole.folder.rglob("*") if f.is_file() and f.parent != whole.checkpoints)
    size = int(2 * others + case.size * checkpoint) if case.size < 100 else ROOMY
    disk = folder / "disk"
    with mounted(disk, size):
        request = job.named("run", background=background)
        request = replace(request, run=replace(request.run, root=str(disk)))
        how, problems = _first_attempt(request, case, disk)
        if how == "told":
            with contextlib.suppress(FileNotFoundError):
                (disk / "filler").unlink()
            subprocess.run(["mount", "-o", f"remount,size={ROOMY}", str(disk)], check=True)
            run_to_end(request)
        if end_of(request) != end_of(job.named("whole")):
            problems.append(ANOTHER_END)
    return how, problems


def _first_attempt(request: RunRequest, case: Case, disk: Path) -> tuple[str, list[str]]:
    try:
        attempt = begin(request)
    except LauncherError:
        return "told", []
    ended = _disturbed(attempt, case, disk)
    if ended.outcome.exit_code == 0:
        return "finished", []
    if "Traceback" in (said := reason(ended.outcome) + ended.printed):
        return "told", [f"a traceback: {said[-600:]}"]
    if not ended.is_clear:
        where = "on the console only" if "disk of the run folder is full" in ended.printed else "nowhere"
        return "told", [f"said why {where}: {ended.outcome.explanation}"]
    if case.must_finish:
        return "told", [f"did not finish: {ended.outcome.explanation}"]
    return "told", []


def _disturbed(attempt: Attempt, case: Case, disk: Path) -> Ended:
    if case.full_from:
        attempt.wait_until(case.full_from)
        fill(disk)
    if case.room_from:
        attempt.wait_until(case.room_from)
        (disk / "filler").unlink()
    return attempt.ended()


def fill(disk: Path) -> None:
    with open(disk / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while filler.write(bytes(size)) == size:
                    pass


@contextlib.contextmanager
def mounted(disk: Path, size: int) -> Iterator[None]:
    disk.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        raise PermissionError("a small file system cannot be mounted here: it takes the rights of an administrator")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(disk)
