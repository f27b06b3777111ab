"""What a plan says of its data: a line for each data set, and the length in epochs."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from launcher.data.plan import DataContent
from launcher.run.length import epochs_text
from launcher.run.plan import PlanWarning, Report, RunPlan
from launcher.show.plan_data import data_rows
from launcher.show.run import show_plan
from tests.values import NO_DATA, a_plan

KEYS = {
    "DATASETS": {"TRAIN": ["fruits_train"], "TEST": ["fruits_val"]},
    "DATALOADER": {"FILTER_EMPTY_ANNOTATIONS": True},
    "SOLVER": {"MAX_ITER": 300, "IMS_PER_BATCH": 2},
    "MODEL": {"WEIGHTS": ""},
}
TRAIN = DataContent(
    name="fruits_train", num_images=13, num_annotated=12, num_objects=1210, images_per_class={"date": 12, "fig": 5}
)


def plan_of(*contents: DataContent) -> RunPlan:
    return a_plan(KEYS, data=replace(NO_DATA, contents=contents))


def test_a_data_set_and_the_length_take_a_line_each():
    assert list(data_rows(plan_of(TRAIN))) == [
        "data: fruits_train: 13 images (12 with objects), 1,210 objects, 2 classes (images: date 12, fig 5)",
        "length: 300 iterations of 2 images, 50 epochs",
    ]


def test_of_many_classes_the_rarest_and_the_most_frequent_are_named():
    classes = {f"c{number}": 10 + number for number in range(80)}

    row = next(data_rows(plan_of(replace(TRAIN, images_per_class=classes))))

    assert row.endswith("80 classes (images: 10 c0 to 89 c79)")


def test_nothing_is_said_of_data_that_nobody_read():
    assert list(data_rows(plan_of())) == []


def test_warnings_of_a_plan_are_shown_before_its_start():
    report = Report(
        adjustments=(),
        warnings=(PlanWarning(code="plan.late_steps", text="steps"),),
        notices=("by the way",),
        changed=(),
    )
    stream = io.StringIO()

    show_plan(replace(plan_of(TRAIN), report=report), Console(file=stream, width=200))

    lines = [line.split(":")[0] for line in stream.getvalue().splitlines()]
    assert lines == ["run", "data", "length", "device", "warning", "note", "start"]
    assert "warning: steps" in stream.getvalue()


@pytest.mark.parametrize(
    ("epochs", "text"),
    [(0.04, "0.04 epochs"), (1.0, "1 epoch"), (1.04, "1 epoch"), (1.06, "1.1 epochs"), (37.4, "37 epochs")],
)
def test_epochs_are_counted_in_as_many_digits_as_anybody_reads(epochs: float, text: str):
    assert epochs_text(epochs) == text
