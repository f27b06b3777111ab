"""A kill before each system call of a save, and before each call that names or syncs a file of a complete training.

The calls are the kernel's, counted by strace, which also sends the signal: nothing of Python is in between.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import torch

from launcher.run.paths import RunPaths
from scripts.reliability.attempts import Attempt, begin, run_to_end
from scripts.reliability.job import Job, make_job, paths_of
from scripts.reliability.result import Row, end_of
from tests.train.checkpoints.test_checkpoint_crash import CASES, Case, check, goes_on, prepare, save

NAMING = "rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,fdatasync,ftruncate"
CALL = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)
MOST_POINTS = 40  # of a complete training: each costs two attempts


class Strace:
    """strace attached to a process and all its threads."""

    def __init__(self, pid: int, log: Path, *options: str) -> None:
        command = ["strace", "-f", "-qq", "-p", str(pid), "-o", str(log), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for_tracer(pid)

    def end(self) -> None:
        self._process.wait(30)


def _wait_for_tracer(pid: int) -> None:
    for _ in range(2000):
        if "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.002)
    raise TimeoutError("strace did not attach: is it allowed to trace here?")


def points_in(log: Path, pid: int) -> list[tuple[str, int]]:
    """Every call that a process's first thread made: its name, and the how many-th of that name it was.

    So does strace count what it injects: each call for itself, in each thread.
    """
    made: Counter[str] = Counter()
    points = []
    for tid, name in CALL.findall(log.read_text()):
        if int(tid) == pid and name != "exit_group":
            made[name] += 1
            points.append((name, made[name]))
    return points


def kill_at(point: tuple[str, int]) -> tuple[str, str]:
    name, number = point
    return "-e", f"inject={name}:signal=KILL:when={number}"


def save_under_strace(paths: RunPaths, case: Case, value: float, log: Path, *options: str) -> tuple[int, int]:
    """Save in a forked child that waits until strace is there; its process number and how it ended."""
    go, release = os.pipe()
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        os.close(release)
        os.read(go, 1)
        try:
            save(paths, case, value)
        except BaseException:
            os._exit(8)
        os._exit(0)
    os.close(go)
    strace = Strace(child, log, *options)
    os.write(release, b"x")
    os.close(release)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    strace.end()
    return child, ended


def crash_saves(folder: Path, every: int) -> Row:
    """A kill before each `every`-th system call of a save, in each of the situations that a save can meet."""
    killed, survived = 0, 0
    misses: list[str] = []
    for number, (name, case) in enumerate(CASES.items()):
        place = folder / str(number)
        prepare(RunPaths(place / "before"), case)
        for point in _calls_of_a_save(place, case)[::every]:
            paths = _copy(place / "before", place / "killed")
            _, ended = save_under_strace(paths, case, case.saved + 0.5, place / "log", *kill_at(point))
            killed += ended == -signal.SIGKILL
            survived += ended == 0
            misses += _problems_after(paths, case, f"{name}, {point[0]} number {point[1]}", ended)
    return Row(
        part="crash",
        tried=f"a kill before {'each' if every == 1 else f'every {every}th'} system call of a save, "
        f"in {len(CASES)} situations: {killed} kills"
        + (f" ({survived} saves did not make the call this time)" if survived else ""),
        measured=f"{killed + survived - len(misses)}/{killed + survived} resume from a valid checkpoint with the "
        "right state",
        misses=tuple(misses),
    )


def _calls_of_a_save(place: Path, case: Case) -> list[tuple[str, int]]:
    paths = _copy(place / "before", place / "counted")
    pid, ended = save_under_strace(paths, case, case.saved + 0.5, place / "log")
    if ended != 0:
        raise RuntimeError("a save failed although nothing killed it")
    return points_in(place / "log", pid)


def _copy(before: Path, target: Path) -> RunPaths:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(before, target, copy_function=os.link)
    return RunPaths(target)


def _problems_after(paths: RunPaths, case: Case, where: str, ended: int) -> list[str]:
    if ended not in (0, -signal.SIGKILL):
        return [f"{where}: the save ended with {ended}"]
    try:
        check(paths, case, case.saved + 0.5)
        goes_on(paths, case, case.saved + 0.5)
    except Exception as error:
        return [f"{where}: {type(error).__name__} {error}"]
    return []


def crash_trainings(job: Job, points: int) -> Row:
    """A kill before calls, spread over a complete training, that name, link, remove, shorten or sync a file."""
    whole = job.named("whole")
    run_to_end(whole)
    counted = job.named("counted")
    log = paths_of(counted).folder.parent / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    attempt = _begin_traced(counted, log, "-e", f"trace={NAMING}")
    if attempt.ended().outcome.exit_code != 0:
        raise RuntimeError("a training failed under strace")
    calls = points_in(log, attempt.process.pid or 0)
    chosen = [calls[number * len(calls) // points] for number in range(points)] if points < len(calls) else calls
    same, killed, misses = 0, 0, []
    for name, number in chosen:
        request = job.named(f"crashed-{name}-{number}")
        attempt = _begin_traced(request, log, "-e", f"trace={NAMING}", *kill_at((name, number)))
        killed += attempt.ended().outcome.exit_code != 0
        run_to_end(request)
        if end_of(request) == end_of(whole):
            same += 1
            shutil.rmtree(paths_of(request).folder)
        else:
            misses.append(f"killed before {name} number {number}: another end")
    return Row(
        part="crash",
        tried=f"a kill before {len(chosen)} of the {len(calls)} calls of a training that name, link, remove, "
        f"shorten or sync a file: {killed} kills",
        measured=f"{same}/{len(chosen)} same weights and metrics",
        misses=tuple(misses),
    )


def _begin_traced(request, log: Path, *options: str) -> Attempt:  # type: ignore[no-untyped-def]
    # The child stops itself until strace is there.
    attempt = begin(request, before=lambda: os.kill(os.getpid(), signal.SIGSTOP))
    pid = attempt.process.pid or 0
    while "State:\tT" not in Path(f"/proc/{pid}/status").read_text():
        time.sleep(0.002)
    Strace(pid, log, *options)
    os.kill(pid, signal.SIGCONT)
    return attempt


def run_part(folder: Path, times: float, seed: int) -> list[Row]:  # noqa: ARG001 - nothing is random here
    if shutil.which("strace") is None:
        return [Row(part="crash", tried="nothing", measured="not measured", misses=("strace is not installed",))]
    rows = [crash_saves(folder / "saves", every=max(1, round(1 / times)))]
    return [*rows, crash_trainings(make_job(folder), points=max(1, round(MOST_POINTS * times)))]
