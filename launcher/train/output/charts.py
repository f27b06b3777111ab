"""Charts of an evaluation as PNG files: precision over recall, and the confusion matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

from launcher.train.evaluation.confusion import Confusion
from launcher.train.evaluation.matches import ClassMatches, Matches
from launcher.train.evaluation.precision import RECALLS, best_f1, curve, precision_at_recalls
from launcher.train.output.canvas import colour_of
from launcher.train.output.fonts import class_label, file_for
from launcher.train.output.sheet import save_png

DOTS_PER_INCH = 110
MOST_CURVES = 12
"""Of more classes the best and the worst have their names, and the others are gray."""
MOST_CLASSES = 25
"""Of more classes the confusion matrix has those with the most errors."""
LONGEST_NAME = 24


def draw_curves(matches: Matches, file: Path) -> None:
    """Precision over recall of every class and of their mean, at an IoU (for keypoints, OKS) of 0.5."""
    figure = Figure(figsize=(9, 5.6), dpi=DOTS_PER_INCH)
    axes = figure.add_subplot()
    precisions = {index: found for index, one in enumerate(matches.classes) if (found := _at_half(one)) is not None}
    named = _named(precisions)
    for index in precisions:
        if index not in named:
            _draw_curve(axes, matches.classes[index], "0.88", "")
    for place, index in enumerate(named):
        one = matches.classes[index]
        label = f"{_short(class_label(one.name, index))}  {precisions[index].mean() * 100:.1f}"
        # The colour of the class, or of many classes those that are easiest to tell apart.
        _draw_curve(axes, one, _hex(index if len(named) == len(precisions) else place), label)
    if precisions:
        mean = np.mean(list(precisions.values()), axis=0)
        axes.plot(RECALLS, mean, color="black", linewidth=2.5, label=f"mean  {mean.mean() * 100:.1f}")
    measure = "OKS" if matches.task == "keypoints" else "IoU"
    axes.set(xlim=(0, 1.0), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
    axes.set_title(f"{matches.task}: precision and recall at {measure} 0.5 (dots: score with the best F1)", fontsize=10)
    axes.grid(alpha=0.3)
    _add_legend(axes, "class  AP50")
    _save(figure, file)


def _at_half(one: ClassMatches) -> np.ndarray | None:
    precisions = precision_at_recalls(one)
    return None if precisions is None else precisions[0]


def _named(precisions: dict[int, np.ndarray]) -> list[int]:
    """The classes whose names are shown, the best first."""
    best_first = sorted(precisions, key=lambda index: -float(precisions[index].mean()))
    half = MOST_CURVES // 2
    return best_first if len(best_first) <= MOST_CURVES else [*best_first[:half], *best_first[-half:]]


def _draw_curve(axes: Axes, one: ClassMatches, colour: str, label: str) -> None:
    points = curve(one)
    axes.plot(points.recall, points.precision, color=colour, linewidth=1.3 if label else 0.7, label=label or "_")
    best = best_f1(one)
    if label and best is not None:
        axes.plot([best.recall], [best.precision], "o", color=colour, markersize=5, label="_")


def _add_legend(axes: Axes, title: str) -> None:
    lines = [line for line in axes.get_lines() if str(line.get_label()) != "_"]
    if not lines:
        return
    legend = axes.legend(
        lines,
        [str(line.get_label()) for line in lines],
        title=title,
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(1, 1),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may have a dollar sign


def draw_confusion(confusion: Confusion, file: Path) -> None:
    """True classes by predicted ones; colours are parts of the row, numbers are objects."""
    shown = _most_confused(confusion)
    counts = confusion.counts[np.ix_([*shown, -1], [*shown, -1])]
    names = [_short(class_label(confusion.names[index], index)) for index in shown]
    side = 3.2 + 0.42 * len(counts)
    figure = Figure(figsize=(side + 1, side), dpi=DOTS_PER_INCH)
    axes = figure.add_subplot()
    parts = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    for true, predicted in np.argwhere(counts):
        colour = "white" if parts[true, predicted] > 0.5 else "black"
        number = f"{counts[true, predicted]}"
        axes.text(predicted, true, number, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(counts)), [*names, "missed"], rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(counts)), [*names, "false positive"], fontsize=8, parse_math=False)
    for draw_line in (axes.axhline, axes.axvline):
        draw_line(len(counts) - 1.5, color="0.4", linewidth=1)
    axes.set(xlabel="predicted class", ylabel="true class")
    part = (
        f"\n{len(shown)} of {len(confusion.names)} classes: the most confused"
        if len(shown) < len(confusion.names)
        else ""
    )
    axes.set_title(f"scores from {confusion.score:.2f}, boxes with IoU from 0.5{part}", fontsize=9)
    _save(figure, file)


def _most_confused(confusion: Confusion) -> list[int]:
    """The indices of the classes that are shown, ascending."""
    number = len(confusion.names)
    if number <= MOST_CLASSES:
        return list(range(number))
    wrong = confusion.counts - np.diag(np.diag(confusion.counts))
    errors, confused = (some.sum(axis=0)[:number] + some.sum(axis=1)[:number] for some in (wrong, wrong[:-1, :-1]))
    worst_first = np.lexsort((-errors, -confused))  # by the last one first
    return sorted(worst_first[:MOST_CLASSES].tolist())


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _hex(class_index: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour_of(class_index))


def _choose_fonts(figure: Figure) -> None:
    """For text with characters that matplotlib's own font lacks: names are shown, so some font has them."""
    for text in figure.findobj(Text):
        if font_file := file_for(text.get_text()):
            text.set_fontproperties(FontProperties(fname=font_file, size=text.get_fontsize()))


def _save(figure: Figure, file: Path) -> None:
    _choose_fonts(figure)
    canvas = FigureCanvasAgg(figure)
    figure.tight_layout()
    canvas.draw()
    save_png(np.asarray(canvas.buffer_rgba())[:, :, :3], file)
