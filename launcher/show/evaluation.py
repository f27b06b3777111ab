"""An evaluation, and the difference between two, as a person reads them: tables of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from launcher.run.evaluation import ClassScores, Comparison, Difference, EvaluationSummary, TaskSummary
from launcher.show.table import wrapped

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80
MOST_CLASSES = 20
"""Of more classes than this only the best and the worst are shown."""
EXTREMES = 5
"""How many of each."""
METRIC_COLUMNS = 6
NOT_DEFINED = "-"
FEW_IMAGES = 30
FEW_IMAGES_NOTE = f"  of fewer than {FEW_IMAGES} images the intervals are too narrow"


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    cells: Sequence[str]


def show_evaluation(summary: EvaluationSummary, console: Console, *, file: str | Path) -> None:
    """Print the table of an evaluation; `file` has all of it."""
    file, here = Path(file), Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    _print(evaluation_lines(summary, str(shown)), console)


def show_comparison(comparison: Comparison, console: Console) -> None:
    _print(comparison_lines(comparison), console)


def _print(lines: Iterable[str], console: Console) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False)


def evaluation_lines(summary: EvaluationSummary, file: str) -> list[str]:
    lines = [_heading(summary)]
    if not summary.tasks:
        lines.append("  no metrics: the evaluator gave none; log.txt may say why")
    lines += _overall(summary)
    lines += _per_class(summary)
    return [*_fitting(lines), f"  all of it: {file}"]


def _fitting(lines: Iterable[str]) -> list[str]:
    """Sentences in as many lines as they need; the tables fit already."""
    return [part for line in lines for part in wrapped(line, width=WIDTH, indent=2).split("\n")]


def _heading(summary: EvaluationSummary) -> str:
    after = "" if summary.iteration is None else f" after iteration {summary.iteration + 1}"
    counts = summary.counts
    if counts is None:
        return f"evaluation on {summary.dataset}{after}"
    crowds = f" and {counts.crowds:,} crowds" if counts.crowds else ""
    return (
        f"evaluation on {summary.dataset}{after}: {counts.images:,} images, {counts.objects:,} objects{crowds}, "
        f"{counts.detections:,} detections"
    )


def _overall(summary: EvaluationSummary) -> list[str]:
    """Tasks with the same metrics in one table."""
    lines: list[str] = []
    shown: tuple[str, ...] = ()
    for name, task in summary.tasks.items():
        columns = tuple(task.metrics)[:METRIC_COLUMNS]
        if columns != shown:
            lines.append(_line(Row(name="", cells=columns), 14, 8))
            shown = columns
        lines.append(_line(Row(name=name, cells=[_number(task.metrics[column]) for column in columns]), 14, 8))
    return lines


def _per_class(summary: EvaluationSummary) -> list[str]:
    tasks = {name: task for name, task in summary.tasks.items() if task.classes}
    if not tasks:
        return []
    first = next(iter(tasks.values()))
    is_counted = any(one.objects is not None for one in first.classes)
    metrics = [f"{name} {_metric_of(task)}" for name, task in tasks.items()]
    head = Row(name="class", cells=["objects", *metrics, "best F1", "at score"] if is_counted else metrics)
    by_name = {name: {one.name: one for one in task.classes} for name, task in tasks.items()}
    chosen = _chosen(first)
    rows = [_class_row(one, [(tasks[task], by_name[task].get(one.name)) for task in tasks]) for one in chosen]
    return [*_table(head, rows), *_notes(first, len(chosen))]


def _metric_of(task: TaskSummary) -> str:
    return next(iter(task.classes[0].metrics), "")


def _class_row(one: ClassScores, in_tasks: Sequence[tuple[TaskSummary, ClassScores | None]]) -> Row:
    numbers = [_number(found.metrics.get(_metric_of(task))) if found else NOT_DEFINED for task, found in in_tasks]
    if one.objects is None:
        return Row(name=one.name, cells=numbers)
    best = one.best_f1
    f1 = [NOT_DEFINED, NOT_DEFINED] if best is None else [f"{best.f1:.2f}", f"{best.score:.2f}"]
    return Row(name=one.name, cells=[f"{one.objects:,}", *numbers, *f1])


def _chosen(task: TaskSummary) -> list[ClassScores]:
    """All classes, or of many the best and the worst of those that have a number, best first."""
    if len(task.classes) <= MOST_CLASSES:
        return list(task.classes)
    metric = _metric_of(task)
    known = [one for one in task.classes if one.metrics.get(metric) is not None]
    best_first = sorted(known, key=lambda one: -(one.metrics[metric] or 0.0))
    return best_first if len(best_first) <= 2 * EXTREMES else [*best_first[:EXTREMES], *best_first[-EXTREMES:]]


def _notes(task: TaskSummary, num_shown: int) -> list[str]:
    notes = []
    if num_shown < len(task.classes):
        notes.append(f"  {num_shown} of {len(task.classes):,} classes: the best and the worst {EXTREMES}")
    without = sum(one.objects == 0 for one in task.classes)
    if without:
        notes.append(f"  classes without objects here: {without:,}; they have no AP and are not in the mean")
    if any(one.best_f1 for one in task.classes):
        notes.append("  best F1: at IoU 0.5, for detections of at least that score")
    return notes


def comparison_lines(comparison: Comparison) -> list[str]:
    percent = f"{comparison.confidence:.0%}"
    head = Row(name="class", cells=["objects", "A", "B", "B - A", f"{percent} interval", "differs"])
    ordered = sorted(comparison.classes, key=lambda one: -abs((one.b or 0.0) - (one.a or 0.0)))
    shown = comparison.classes if len(ordered) <= MOST_CLASSES else ordered[: 2 * EXTREMES]
    lines = [
        f"{comparison.task} AP of A and B on the same {comparison.images:,} images",
        *_table(head, [_difference_row(one) for one in (comparison.overall, *shown)]),
    ]
    if len(shown) < len(comparison.classes):
        lines.append(f"  {len(shown)} of {len(comparison.classes):,} classes: the largest differences")
    return _fitting(
        [
            *lines,
            f"  {percent} confidence intervals of B - A from {comparison.samples:,} bootstrap samples of the images, "
            f"seed {comparison.seed}.",
            "  differs: 0 is outside of the interval; of 20 classes that do not differ, about 1 is by chance.",
            *([FEW_IMAGES_NOTE] if comparison.images < FEW_IMAGES else []),
        ]
    )


def _difference_row(one: Difference) -> Row:
    if one.a is None or one.b is None:
        return Row(name=one.name, cells=[f"{one.objects:,}", NOT_DEFINED, NOT_DEFINED, NOT_DEFINED, "", ""])
    interval = f"{one.low:+.1f} to {one.high:+.1f}" if one.low is not None and one.high is not None else NOT_DEFINED
    verdict = "yes" if one.is_one else "no"
    numbers = [_number(one.a), _number(one.b), f"{one.b - one.a:+.1f}"]
    return Row(name=one.name, cells=[f"{one.objects:,}", *numbers, interval, verdict])


def _table(head: Row, rows: Sequence[Row]) -> list[str]:
    """Columns as wide as what is in them; names are cut where a line would be longer than the screen."""
    widths = [
        max(cell_len(cell) for cell in column) for column in zip(head.cells, *(row.cells for row in rows), strict=True)
    ]
    longest = max(cell_len(row.name) for row in (head, *rows))
    room = WIDTH - 2 - sum(width + 3 for width in widths)
    name_width = max(5, min(longest, room))
    return [
        "  "
        + _fitted(row.name, name_width)
        + "".join("   " + cell.rjust(width) for cell, width in zip(row.cells, widths, strict=True))
        for row in (head, *rows)
    ]


def _line(row: Row, name_width: int, width: int) -> str:
    return "  " + _fitted(row.name, name_width) + "".join(cell.rjust(width) for cell in row.cells)


def _fitted(name: str, width: int) -> str:
    return set_cell_size(name if cell_len(name) <= width else set_cell_size(name, width - 1) + "…", width)


def _number(value: float | None) -> str:
    return NOT_DEFINED if value is None else f"{value:.1f}"
