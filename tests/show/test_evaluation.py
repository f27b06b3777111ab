from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from launcher.run.evaluation import (
    BestF1,
    ClassScores,
    Comparison,
    Counts,
    Difference,
    EvaluationSummary,
    TaskSummary,
)
from launcher.show.evaluation import WIDTH, comparison_lines, evaluation_lines, show_evaluation

METRICS = {"AP": 41.06, "AP50": 61.6, "AP75": 45.0, "APs": None, "APm": 40.2, "APl": 55.1}
BEST = BestF1(score=0.617, f1=0.8123, precision=0.9, recall=0.74)


def scores(name: str, ap: float | None, objects: int = 5) -> ClassScores:
    metrics = {"AP": ap, "AP50": ap}
    return ClassScores(name=name, objects=objects, metrics=metrics, best_f1=None if ap is None else BEST)


def task(*classes: ClassScores) -> TaskSummary:
    return TaskSummary(metrics=METRICS, classes=classes, best_f1=BEST)


SUMMARY = EvaluationSummary(
    version=1,
    dataset="fruit_val",
    iteration=149,
    counts=Counts(images=1200, objects=8, crowds=0, detections=70),
    tasks={
        "bbox": task(scores("apple", 45.24), scores("pear", None, objects=0)),
        "segm": task(scores("apple", 40.0), scores("pear", None, objects=0)),
    },
    confusion=None,
)


def test_the_table_has_the_evaluators_numbers_and_each_class_with_its_objects_and_its_best_threshold():
    lines = evaluation_lines(SUMMARY, "evaluation/fruit_val/summary.json")

    assert lines == [
        "evaluation on fruit_val after iteration 150: 1,200 images, 8 objects, 70",
        "  detections",
        "                      AP    AP50    AP75     APs     APm     APl",
        "  bbox              41.1    61.6    45.0       -    40.2    55.1",
        "  segm              41.1    61.6    45.0       -    40.2    55.1",
        "  class   objects   bbox AP   segm AP   best F1   at score",
        "  apple         5      45.2      40.0      0.81       0.62",
        "  pear          0         -         -         -          -",
        "  classes without objects here: 1; they have no AP and are not in the mean",
        "  best F1: at IoU 0.5, for detections of at least that score",
        "  all of it: evaluation/fruit_val/summary.json",
    ]


@pytest.mark.parametrize(("number", "shown"), [(20, 20), (21, 10), (1203, 10)])
def test_of_many_classes_the_best_and_the_worst_are_shown(number: int, shown: int):
    classes = [scores(f"class {index}", float(index % 100)) for index in range(number)]

    lines = evaluation_lines(replace(SUMMARY, tasks={"bbox": task(*classes)}), "summary.json")

    assert sum(line.startswith("  class ") for line in lines) == shown + 1
    assert any(f"10 of {number:,} classes" in line for line in lines) == (shown < number)


def test_classes_without_a_number_are_not_among_the_worst():
    classes = [
        scores(f"class {index}", None if index < 15 else 1.0, objects=0 if index < 15 else 1) for index in range(40)
    ]

    lines = evaluation_lines(replace(SUMMARY, tasks={"bbox": task(*classes)}), "summary.json")

    assert not [line for line in lines if line.startswith("  class 1 ")]
    assert "  classes without objects here: 15; they have no AP and are not in the mean" in lines


@pytest.mark.parametrize("name", ["n" * 300, "日本語の名前" * 20, "[red]no markup[/red]", ""])
def test_no_line_of_the_tables_is_wider_than_80_columns(name: str):
    summary = replace(SUMMARY, tasks={"bbox": task(scores(name, 100.0, objects=1_234_567), scores("b", 1.0))})

    lines = evaluation_lines(summary, "s.json")

    assert max(cell_len(line) for line in lines[1:]) <= WIDTH
    assert len({cell_len(line) for line in lines if "0.62" in line}) == 1  # columns are below each other


def test_an_evaluator_of_a_users_own_has_its_numbers_shown():
    own = TaskSummary(metrics={"quality": 0.5}, classes=(), best_f1=None)

    lines = evaluation_lines(replace(SUMMARY, iteration=None, counts=None, tasks={"mine": own}), "s.json")

    assert lines[0] == "evaluation on fruit_val"
    assert lines[1].split() == ["quality"]
    assert lines[2].split() == ["mine", "0.5"]


def test_of_classes_whose_objects_are_not_known_only_the_evaluators_numbers_are_shown():
    sky = ClassScores(name="sky", objects=None, metrics={"IoU": 40.0}, best_f1=None)

    lines = evaluation_lines(
        replace(
            SUMMARY, counts=None, tasks={"sem_seg": TaskSummary(metrics={"mIoU": 40.0}, classes=(sky,), best_f1=None)}
        ),
        "s.json",
    )

    assert lines[3:5] == ["  class   sem_seg IoU", "  sky            40.0"]


def test_an_evaluation_without_any_number_says_so():
    assert "no metrics" in evaluation_lines(replace(SUMMARY, tasks={}), "s.json")[-2]


def test_names_are_printed_as_they_are():
    console = Console(file=io.StringIO(), soft_wrap=True)

    show_evaluation(replace(SUMMARY, dataset="[bold]x[/bold]"), console, file=Path("[0].json"))

    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[bold]x[/bold]" in printed
    assert "[0].json" in printed


COMPARISON = Comparison(
    task="bbox",
    images=50,
    samples=1000,
    confidence=0.95,
    seed=0,
    overall=Difference(name="all classes", objects=8, a=30.0, b=31.5, low=-0.4, high=3.1),
    classes=(
        Difference(name="apple", objects=5, a=30.0, b=40.0, low=4.0, high=16.0),
        Difference(name="pear", objects=3, a=30.0, b=23.0, low=-12.0, high=-1.0),
        Difference(name="fig", objects=0, a=None, b=None, low=None, high=None),
    ),
)


def test_a_comparison_says_of_each_class_whether_it_differs():
    rows = {line.split()[0]: line.split() for line in comparison_lines(COMPARISON)[2:6]}

    assert rows["all"][2:] == ["8", "30.0", "31.5", "+1.5", "-0.4", "to", "+3.1", "no"]
    assert rows["apple"][1:] == ["5", "30.0", "40.0", "+10.0", "+4.0", "to", "+16.0", "yes"]
    assert rows["pear"][-1] == "yes"
    assert rows["fig"][1:] == ["0", "-", "-", "-"]


@pytest.mark.parametrize(("images", "warns"), [(29, True), (30, False)])
def test_intervals_of_few_images_come_with_a_warning(images: int, warns: bool):
    lines = comparison_lines(replace(COMPARISON, images=images))

    assert any("too narrow" in line for line in lines) == warns


def test_of_many_classes_the_largest_differences_are_shown():
    classes = tuple(
        Difference(name=f"c{index}", objects=1, a=0.0, b=float(index), low=-1.0, high=1.0) for index in range(80)
    )

    lines = comparison_lines(replace(COMPARISON, classes=classes))

    assert lines[3].split()[0] == "c79"
    assert "  10 of 80 classes: the largest differences" in lines
