"""A run as a person reads it, and its plan as a program does (JSON). Shows, never decides."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.config.adjustment import Adjustment
from launcher.config.values import to_plain
from launcher.data.plan import DatasetPlan
from launcher.device.policy.plan import DevicePlan
from launcher.errors import ExitCode
from launcher.run import codes
from launcher.run.found import called
from launcher.run.outcome import TIME_LIMIT, EarlyStop, Ending, Outcome, explain_early_stop, headlines
from launcher.run.plan import Finished, Lessons, Resume, RunPlan, Train
from launcher.run.resume import ResumePoint
from launcher.show.console import width_of
from launcher.show.data_wait import data_wait_text
from launcher.show.inference import outcome_lines, start_line
from launcher.show.plan_data import data_rows
from launcher.show.stopping import left_text
from launcher.show.table import flowing, wrapped

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

    After an earlier plan `before`, only what has changed.
    """

    width = width_of(console)

    def line(text: str) -> None:
        console.print(wrapped(text, width=width), highlight=False, markup=False)

    if before is None:
        line(f"run: {_relative(Path(plan.folder))}")
        for row in (*data_rows(plan), *_index_rows(plan.data)):
            line(row)
    if before is None or before.devices.reason != plan.devices.reason:
        line(f"device: {_device_line(plan.devices, plan.nodes.count)}")
    known = {(a.setting, str(a.planned)) for a in before.report.adjustments} if before else set()
    adjustments = [one for one in plan.report.adjustments if (one.setting, str(one.planned)) not in known]
    for row in _adjustment_rows(adjustments, width):
        line(row)
    for change in plan.report.changed:
        values = f"before {_yaml(change.before)}   now {_yaml(change.now)}"
        line(f"  changed: {change.setting}   {values}   {change.effect.value}")
    for warning in plan.report.warnings if before is None and not isinstance(plan.start, Finished) else ():
        line(f"warning: {warning.text}")
    show_notices((one for one in plan.report.notices if before is None or one not in before.report.notices), console)
    line(_start_line(plan))
    if composition:
        for key in SHOWN_IN_PLAN:
            line(f"  {key} = {plan.keys[key]}")


def _index_rows(data: DatasetPlan) -> Iterator[str]:
    indexes = {split.name: split.index for split in data.splits if split.index is not None} | dict(data.indexes)
    for name, index in indexes.items():
        if not index.unusable:
            yield f"index: {name} by {index.path} ({index.size / 1e6:.1f} MB)"


def show_notices(notices: Iterable[str], console: Console) -> None:
    for notice in notices:
        console.print(wrapped(f"note: {notice}", width=width_of(console)), highlight=False, markup=False)


def plan_json(plan: RunPlan) -> str:
    return json.dumps(to_plain(plan), indent=2)


def show_outcome(
    outcome: Outcome | None, plan: RunPlan, console: Console, *, seconds: float, left: ResumePoint | None = None
) -> None:
    """The result, and the next command; failures are reported by `failure_text`.

    All attempts of the run together took so many `seconds`. What was ended by a second Ctrl-C would resume from `left`.
    """
    if outcome is not None and outcome.code == codes.INTERRUPTED:
        for text in _interrupted_lines(outcome, plan, left):
            console.print(text, highlight=False, markup=False)
    if outcome is None or outcome.ending not in (Ending.finished, Ending.stopped, Ending.pruned):
        return
    if not isinstance(plan.task, Train):
        for text in outcome_lines(outcome, plan, plan.task):
            console.print(text, highlight=False, markup=False)
        return
    lines = [f"{outcome.ending.value}: {_done_line(outcome, seconds)}"]
    if outcome.explanation:
        lines[0] += f" ({outcome.explanation})"
    if metrics := _metrics_line(outcome):
        lines.append(f"  {metrics}")
    if bad := _bad_images_line(outcome):
        lines.append(f"  {bad}")
    if outcome.work.data_wait is not None:
        lines.append(f"  data wait     {data_wait_text(outcome.work.data_wait, plan)}")
    paths = plan.paths
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
            lines.append(f"  averaged      {_relative(paths.final_average)}  (the weights that were evaluated)")
        lines.append(f"  next          {_after_end(plan)}")
    elif outcome.ending is Ending.pruned:
        lines.append(f"  next          {_resume(plan.paths.folder)} continues it all the same")
    else:
        lines.append(f"  next          {_after_stop(outcome, plan)}")
    for text in lines:
        console.print(text, highlight=False, markup=False)


def _interrupted_lines(outcome: Outcome, plan: RunPlan, left: ResumePoint | None) -> Iterator[str]:
    yield f"interrupted: {outcome.explanation}"
    if isinstance(plan.task, Train):
        yield f"  left          {left_text(left, outcome.work.iterations, plan)}"


def show_retry(outcome: Outcome, plan: RunPlan, lessons: Lessons, console: Console) -> None:
    """That an attempt failed, and what the next one changes."""
    failed, next_one = plan.attempt, plan.attempt + 1
    for text in (f"attempt {failed} failed: {explain_with_code(outcome)}", f"attempt {next_one}: {lessons.reason}"):
        console.print(text, highlight=False, markup=False)


def explain_with_code(outcome: Outcome) -> str:
    """The explanation with the code that `launcher explain` takes."""
    return f"{outcome.explanation} [{outcome.code}]" if outcome.code else outcome.explanation


def failure_text(outcome: Outcome, plan: RunPlan, *, would_fail_again: bool = False) -> str:
    """One paragraph for the error line: what happened, where the log is, what to do next."""
    paths, attempt = plan.paths, plan.attempt_paths
    saved = any(paths.checkpoints.glob("model_*.pth"))
    continues = "it resumes from the last valid checkpoint" if saved else "no checkpoint was saved, so it starts over"
    if not isinstance(plan.task, Train):
        continues = "it continues with what is left"
    what_next = f"run the same command again: {continues}"
    if outcome.exit_code in (ExitCode.request_wrong, ExitCode.data_wrong):
        what_next = "fix that, and run the command again"
    elif outcome.code == codes.DIVERGED:
        what_next = "the same command would fail the same way; change a setting to start another run"
    elif would_fail_again:
        what_next = (
            "the same command would fail the same way; the traceback shows which setting, file or code to change first"
        )
    if outcome.code == codes.UNREADABLE_IMAGES:
        what_next = "repair or remove them, and run the same command again: only they are left"
    trace = f"{outcome.fault.traceback}\n" if outcome.fault is not None and outcome.fault.traceback else ""
    return (
        f"{_how_it_ended(outcome)}{explain_with_code(outcome)}\n{trace}"
        f"  log    {_relative(attempt.log(0))}\n"
        f"  next   {what_next}"
    )


def _how_it_ended(outcome: Outcome) -> str:
    """Nothing of one that came to its end and has left something out."""
    return "" if outcome.ending is Ending.finished else f"{outcome.ending.value.replace('_', ' ')}: "


def _after_end(plan: RunPlan) -> str:
    """How a finished run trains longer."""
    name, total = shlex.quote(called(plan.paths.folder)), plan.keys["SOLVER.MAX_ITER"]
    return f"launcher resume {name} SOLVER.MAX_ITER={2 * total} trains longer; resume=never restarts this one"


def _resume(folder: Path) -> str:
    return f"launcher resume {shlex.quote(called(folder))}"


def _after_stop(outcome: Outcome, plan: RunPlan) -> str:
    """What to do after a stop: the same again, unless that would stop in the same place."""
    done, before = outcome.work.iterations, plan.first_iteration
    if not outcome.explanation.startswith(TIME_LIMIT) or done is None or done > before:
        return f"run the same command again, or: {_resume(plan.paths.folder)}"
    return (
        "the same command would stop before its first iteration again: raise run.time_limit (or the time of the "
        "scheduler's job)"
    )


def _device_line(devices: DevicePlan, nodes: int) -> str:
    several = f" x {devices.num_processes} processes" if devices.num_processes > 1 else ""
    several += f" on each of {nodes} nodes" if nodes > 1 else ""
    asked = "" if devices.asked == devices.kind else f" (asked {devices.asked})"
    return f"{devices.kind}{several}{asked}: {devices.reason}"


def _adjustment_rows(adjustments: Sequence[Adjustment], width: int | None = None) -> Iterator[str]:
    """In columns, the reason below them where they and it do not fit into one line."""
    shown = [
        adjustment
        for adjustment in adjustments
        # The device line already reports that detectron2's default was overridden.
        if (adjustment.setting, adjustment.asked) != ("MODEL.DEVICE", "cuda")
    ]
    cells = [(a.setting, f"asked {_yaml(a.asked)}", f"planned {_yaml(a.planned)}", a.reason) for a in shown]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(3)]
    for row in cells:
        *values, reason = (cell.ljust(column) for cell, column in zip(row, (*widths, 0), strict=True))
        line = "  " + "   ".join(values)
        if width is None or len(line) + len(reason) + 3 <= width:
            yield f"{line}   {reason}"
            continue
        first, *more = flowing(row[:3], width - 6, gap=3) if len(line.rstrip()) > width else [line.strip()]
        yield f"  {first}"
        yield from (f"      {text}" for text in more)
        yield from wrapped(f"      {reason}", width=width, indent=0).split("\n")


def _yaml(value: object) -> str:
    return json.dumps(value, default=str)


def _start_line(plan: RunPlan) -> str:
    if not isinstance(plan.task, Train):
        return start_line(plan, plan.task)
    total = plan.keys["SOLVER.MAX_ITER"]
    match plan.start:
        case Finished(pruned=why) if why:
            return f"start: nothing to do: pruned, because {why}. To continue: {_resume(plan.paths.folder)}"
        case Finished(stopped_early=None):
            return f"start: nothing to do, all {total} iterations are done. Increase SOLVER.MAX_ITER to continue."
        case Finished(stopped_early=EarlyStop() as stop):
            return f"start: nothing to do: {explain_early_stop(stop)}. Increase early_stopping.patience to continue."
        case Resume(point=point) if point.next_iteration == total:
            where = _relative(Path(point.path))
            return f"start: all {total} iterations are done, what follows them is repeated from {where}"
        case Resume(point=point):
            where = "" if point.next_iteration is None else f"iteration {point.next_iteration} of {total}, "
            return f"start: {where}resumed from {_relative(Path(point.path))}"
    return f"start: iteration 0 of {total}, from {plan.keys['MODEL.WEIGHTS'] or 'random weights'}"


def _done_line(outcome: Outcome, seconds: float) -> str:
    done = outcome.work.iterations
    minutes, rest = divmod(round(max(seconds, outcome.seconds)), 60)
    return "nothing done" if done is None else f"{done} iterations, {minutes} min {rest} s"


def _bad_images_line(outcome: Outcome) -> str:
    work, parts = outcome.work, []
    if work.bad_images:
        parts.append(_bad_training_images(work.bad_images))
    if work.bad_test_images:
        parts.append(_bad_validation_images(work.bad_test_images))
    return f"bad images    {'; '.join(parts)} (log.txt names them)" if parts else ""


def _bad_training_images(number: int) -> str:
    if number == 1:
        return "1 training image could not be used and was replaced by another"
    return f"{number} training images could not be used and were replaced by others"


def _bad_validation_images(number: int) -> str:
    if number == 1:
        return "1 unreadable validation image counts as an image without detections"
    return f"{number} unreadable validation images count as images without detections"


def _metrics_line(outcome: Outcome) -> str:
    found = headlines(outcome.work.metrics).items()
    return "   ".join(f"{name} {'none' if value is None else f'{value:.1f}'}" for name, value in found)


def _relative(path: Path) -> str:
    """Relative to the current folder where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
