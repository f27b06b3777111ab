"""A kill before each system call of a save, in a forked child: whatever is left, a run resumes from a valid checkpoint.

Calls are counted where Python makes them. A kill loses what is still in the process, not what the kernel has, so
this says nothing about a loss of power.
"""

from __future__ import annotations

import builtins
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.config.request import CheckpointSettings
from launcher.run.manifest import Milestone
from launcher.run.paths import RunPaths
from launcher.run.resume import damage_of, look_for_checkpoints
from launcher.train.checkpoints.checkpoint import SafeCheckpointer
from launcher.train.checkpoints.saver import Saver

CALLS = ("open", "write", "fsync", "close", "replace", "rename", "link", "unlink")
NO_CRASH = 10_000
SURVIVED, KILLED, BROKEN = 0, 7, 8


@dataclass(frozen=True)
class Case:
    """What is in the folder before, and which save is killed."""

    before: tuple[int, ...]
    saved: int
    settings: CheckpointSettings
    is_last: bool = False
    ap: float | None = None


KEEP = CheckpointSettings(keep_last=2, keep_best="bbox/AP")
CASES = {
    "a new name": Case(before=(9,), saved=19, settings=KEEP),
    "the same name again": Case(before=(9, 19), saved=19, settings=KEEP),
    "an old one goes": Case(before=(9, 19), saved=29, settings=KEEP),
    "the last and best one": Case(before=(9, 19), saved=29, settings=KEEP, is_last=True, ap=30.0),
}


def model_of(value: float) -> torch.nn.Module:
    # So small that torch uses one thread: its others are not there in a forked child.
    model = torch.nn.Linear(64, 64)
    torch.nn.init.constant_(model.weight, value)
    return model


def saver_in(paths: RunPaths, model: torch.nn.Module, settings: CheckpointSettings) -> Saver:
    paths.checkpoints.mkdir(parents=True, exist_ok=True)
    resume = look_for_checkpoints(paths).newest_valid
    return Saver(SafeCheckpointer(model, str(paths.checkpoints)), paths, settings, resume=resume)


def prepare(paths: RunPaths, case: Case) -> None:
    for iteration in case.before:
        saver = saver_in(paths, model_of(iteration), case.settings)
        saver.save(Milestone(iteration=iteration), metrics={"bbox/AP": 10.0 + iteration / 100})


def save(paths: RunPaths, case: Case, value: float) -> None:
    saver = saver_in(paths, model_of(value), case.settings)
    metrics = None if case.ap is None else {"bbox/AP": case.ap}
    saver.save(Milestone(iteration=case.saved), metrics=metrics, is_last=case.is_last)


def crash_before_call(number: int) -> None:
    """From now on this process is gone as soon as it is about to make that call."""
    made = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal made
            if made == number:
                os._exit(KILLED)
            made += 1
            return real(*arguments, **more)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    builtins.open = counted(builtins.open)


def save_in_child(paths: RunPaths, case: Case, value: float, crash_before: int) -> int:
    """Fork a child that saves, and return how it ended."""
    child = os.fork()
    if child == 0:
        status = BROKEN
        try:
            crash_before_call(crash_before)
            save(paths, case, value)
            status = SURVIVED
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def value_in(path: str | Path) -> float:
    return float(torch.load(path, weights_only=True)["model"]["weight"][0, 0])


@pytest.mark.parametrize("name", CASES)
def test_a_kill_before_any_call_of_a_save_leaves_a_valid_checkpoint_with_the_right_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # counted all the same; the kernel outlives the process
    case = CASES[name]
    new_value = case.saved + 0.5
    prepare(RunPaths(tmp_path / "before"), case)
    killed = 0
    while True:
        paths = RunPaths(tmp_path / str(killed))
        # Links, as nothing is ever written in place, and so that names of one file stay names of one file.
        shutil.copytree(tmp_path / "before", paths.folder, copy_function=os.link)

        ended = save_in_child(paths, case, new_value, crash_before=killed)

        check(paths, case, new_value)
        goes_on(paths, case, new_value)
        if ended == SURVIVED:
            break
        assert ended == KILLED
        killed += 1
    assert killed >= 15, "the calls of a save were not counted"


def check(paths: RunPaths, case: Case, new_value: float) -> None:
    """The newest is the state before or the one after, nothing is damaged, and every other name is a whole file."""
    found = look_for_checkpoints(paths)
    assert found.damaged == ()
    assert found.newest_valid is not None
    assert found.newest_valid.next_iteration in (case.before[-1] + 1, case.saved + 1)
    new = new_value if found.newest_valid.next_iteration == case.saved + 1 else float(case.before[-1])
    assert value_in(found.newest_valid.path) in ((new, case.before[-1]) if case.saved in case.before else (new,))
    for path in (paths.best_weights, paths.final_weights):
        if path.exists():
            assert damage_of(path) is None


def goes_on(paths: RunPaths, case: Case, new_value: float) -> None:
    """The next attempt clears up and comes to the same end as one that was never killed."""
    save(paths, case, new_value)

    assert value_in(paths.checkpoint(case.saved)) == new_value
    assert [path.name for path in paths.checkpoints.iterdir() if path.name.startswith(".")] == []
    assert len(list(paths.checkpoints.glob("model_0*.pth"))) == 2
    assert len(list(paths.checkpoints.glob("model_0*.json"))) == 2
    best = new_value if case.ap is not None else float(case.before[-1])
    assert value_in(paths.best_weights) in ((best, new_value) if case.saved in case.before else (best,))
    assert paths.final_weights.exists() == case.is_last
