"""A run as a person reads it, and its plan as a program does (JSON). Shows, never decides."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.config.adjustment import Adjustment, look_up
from launcher.config.values import to_plain
from launcher.device.policy.plan import DevicePlan
from launcher.errors import ExitCode
from launcher.run.outcome import Cause, Ending, Outcome, explain_early_stop, headlines
from launcher.run.paths import RunPaths
from launcher.run.plan import Lessons, RunPlan

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_IN_PLAN = (
    "MODEL.META_ARCHITECTURE",
    "MODEL.WEIGHTS",
    "DATASETS.TRAIN",
    "DATASETS.TEST",
    "SOLVER.IMS_PER_BATCH",
    "SOLVER.BASE_LR",
    "SOLVER.STEPS",
    "SOLVER.MAX_ITER",
    "SEED",
)


def show_plan(plan: RunPlan, console: Console, *, before: RunPlan | None = None, composition: bool = False) -> None:
    """Where, on what and with which changes a run will train; with its main settings for `launcher plan`.

    After the plan `before`, only what has become another one.
    """

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    if before is None:
        line(f"run: {_relative(Path(plan.folder))}")
    if before is None or before.devices.reason != plan.devices.reason:
        line(f"device: {_device_line(plan.devices)}")
    known = {(a.setting, str(a.planned)) for a in before.adjustments} if before else set()
    for row in _adjustment_rows([a for a in plan.adjustments if (a.setting, str(a.planned)) not in known]):
        line(f"  {row}")
    for change in plan.changed:
        values = f"before {_yaml(change.before)}   now {_yaml(change.now)}"
        line(f"  changed: {change.setting}   {values}   {change.effect.value}")
    show_notices((one for one in plan.notices if before is None or one not in before.notices), console)
    line(_start_line(plan))
    if composition:
        for key in SHOWN_IN_PLAN:
            line(f"  {key} = {look_up(plan.detectron2, key)}")


def show_notices(notices: Iterable[str], console: Console) -> None:
    for notice in notices:
        console.print(f"note: {notice}", highlight=False, markup=False)


def plan_json(plan: RunPlan) -> str:
    return json.dumps(to_plain(plan), indent=2)


def show_outcome(outcome: Outcome | None, plan: RunPlan, console: Console) -> None:
    """What came out, and what to type next; failures are told by `failure_text`."""
    if outcome is not None and outcome.ending is Ending.killed and outcome.exit_code == ExitCode.interrupted:
        console.print(f"interrupted: {outcome.explanation}", highlight=False, markup=False)
    if outcome is None or outcome.ending not in (Ending.finished, Ending.stopped):
        return
    lines = [f"{outcome.ending.value}: {_done_line(outcome)}"]
    if outcome.explanation:
        lines[0] += f" ({outcome.explanation})"
    if metrics := _metrics_line(outcome):
        lines.append(f"  {metrics}")
    if bad := _bad_images_line(outcome):
        lines.append(f"  {bad}")
    paths = RunPaths(Path(plan.folder))
    shown = _relative(paths.folder)
    lines.append(f"  run folder    {shown}")
    if paths.predictions.exists():
        lines.append(f"  predictions   {_relative(paths.predictions)}")
    if paths.tensorboard.exists():
        lines.append(f"  TensorBoard   launcher tensorboard {shlex.quote(shown)}")
    if outcome.ending is Ending.finished:
        lines.append(
            f"  weights       {_relative(paths.final_weights)}  (with {_relative(paths.config)}, for DefaultPredictor)"
        )
        if paths.final_average.exists():
            lines.append(f"  averaged      {_relative(paths.final_average)}  (those that were evaluated)")
        lines.append(
            "  go on         change any setting, such as SOLVER.MAX_ITER, for a run beside this one; "
            "resume=never starts this one over"
        )
    else:
        lines.append("  go on         run the same command again")
    for text in lines:
        console.print(text, highlight=False, markup=False)


def show_retry(outcome: Outcome, plan: RunPlan, lessons: Lessons, console: Console) -> None:
    """That an attempt failed, and what the next one does otherwise."""
    failed, next_one = plan.attempt, plan.attempt + 1
    for text in (f"attempt {failed} failed: {outcome.explanation}", f"attempt {next_one}: {lessons.reason}"):
        console.print(text, highlight=False, markup=False)


def failure_text(outcome: Outcome, plan: RunPlan) -> str:
    """One paragraph for the error line: what happened, where the log is, how to go on."""
    paths = RunPaths(Path(plan.folder))
    attempt = paths.attempt(plan.attempt)
    saved = any(paths.checkpoints.glob("model_*.pth"))
    continues = "it continues from the last whole checkpoint" if saved else "nothing was saved, so it starts anew"
    go_on = f"run the same command again: {continues}"
    if outcome.exit_code in (ExitCode.request_wrong, ExitCode.data_wrong):
        go_on = "mend that, and run the command again"
    elif outcome.cause is Cause.diverged:
        go_on = "the same command would end the same way; change a setting for a run beside this one"
    trace = f"{outcome.traceback}\n" if outcome.traceback else ""
    return (
        f"{outcome.ending.value.replace('_', ' ')}: {outcome.explanation}\n{trace}"
        f"  log    {_relative(attempt.log(0))}\n"
        f"  go on  {go_on}"
    )


def _device_line(devices: DevicePlan) -> str:
    several = f" x {devices.num_processes} processes" if devices.num_processes > 1 else ""
    asked = "" if devices.asked == devices.kind else f" (asked {devices.asked})"
    return f"{devices.kind}{several}{asked}: {devices.reason}"


def _adjustment_rows(adjustments: Sequence[Adjustment]) -> list[str]:
    shown = [
        adjustment
        for adjustment in adjustments
        # That detectron2's default gave way is said by the device line.
        if (adjustment.setting, adjustment.asked) != ("MODEL.DEVICE", "cuda")
    ]
    cells = [(a.setting, f"asked {_yaml(a.asked)}", f"planned {_yaml(a.planned)}", a.reason) for a in shown]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(3)]
    return [
        "   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in cells
    ]


def _yaml(value: object) -> str:
    return json.dumps(value, default=str)


def _start_line(plan: RunPlan) -> str:
    total = look_up(plan.detectron2, "SOLVER.MAX_ITER")
    if plan.already_finished and plan.stopped_early is not None:
        return f"start: nothing to do, {explain_early_stop(plan.stopped_early)}; more early_stopping.patience goes on"
    if plan.already_finished:
        return f"start: nothing to do, all {total} iterations are done"
    if plan.resume is None:
        weights = look_up(plan.detectron2, "MODEL.WEIGHTS") or "random weights"
        return f"start: iteration 0 of {total}, from {weights}"
    where = "" if plan.resume.next_iteration is None else f"iteration {plan.resume.next_iteration} of {total}, "
    return f"start: {where}continued from {_relative(Path(plan.resume.path))}"


def _done_line(outcome: Outcome) -> str:
    minutes, seconds = divmod(round(outcome.seconds), 60)
    return (
        f"{outcome.iterations} iterations, {minutes} min {seconds} s"
        if outcome.iterations is not None
        else "nothing done"
    )


def _bad_images_line(outcome: Outcome) -> str:
    parts = []
    if outcome.bad_images:
        parts.append(f"{outcome.bad_images} of the training images could not be used, others took their place")
    if outcome.bad_test_images:
        parts.append(f"{outcome.bad_test_images} of the validation images could not be read, nothing is found there")
    return f"bad images    {'; '.join(parts)} (log.txt names them)" if parts else ""


def _metrics_line(outcome: Outcome) -> str:
    found = headlines(outcome.metrics).items()
    return "   ".join(f"{name} {'none' if value is None else f'{value:.1f}'}" for name, value in found)


def _relative(path: Path) -> str:
    """As short as it can be typed from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
