"""Data sets of a user's own code: class counts follow them, contradictions are refused, silence gets a notice."""

from __future__ import annotations

import re
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.own_code import OwnCodeFacts, OwnDataset
from launcher.config.request import DatasetRequest, OwnCode
from launcher.data.facts import inspect_dataset
from launcher.data.plan import DatasetPlan, plan_dataset
from launcher.errors import DataError
from tests.data.examples import keys_with, request_for

TWO = ("fig", "date")
ASKED = OwnCode(imports=("my_data",))
COUNTS = ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES")


def own(classes: tuple[str, ...] | None, *, is_semantic: bool = False, unreadable: str = "") -> OwnDataset:
    return OwnDataset(classes=classes, is_semantic=is_semantic, unreadable=unreadable)


def facts(needs_gpu: str = "", **data_sets: OwnDataset) -> OwnCodeFacts:
    return OwnCodeFacts(asked=ASKED, registered=tuple(data_sets), data_sets=data_sets, needs_gpu=needs_gpu)


def keys(train: list[str], test: list[str], **values: Any) -> Keys:
    return keys_with(DATASETS__TRAIN=train, DATASETS__TEST=test, **values)


def plan(asked: Keys, found: OwnCodeFacts | None, *overrides: str) -> DatasetPlan:
    dataset = DatasetRequest(check=False)
    return plan_dataset(request_for(dataset, asked, overrides), inspect_dataset(dataset, asked, found))


def test_class_counts_follow_the_users_data_set_and_the_plan_remembers_the_classes():
    asked = keys(["own_train"], ["own_val"], MODEL__ROI_HEADS__NUM_CLASSES=80)

    planned = plan(asked, facts(own_train=own(TWO), own_val=own(TWO)))

    counts = {one.setting: (one.planned, one.reason) for one in planned.adjustments}
    assert counts["MODEL.ROI_HEADS.NUM_CLASSES"] == (2, "own_train has 2 classes")
    assert planned.own_classes == {"own_train": TWO, "own_val": TWO}
    assert planned.notices == ()


@pytest.mark.parametrize(
    ("train", "test", "data_sets", "says"),
    [
        (["one"], ["other"], {"one": own(TWO), "other": own(("fig",))}, "other with 1 classes, but .* has 2"),
        (["one"], ["other"], {"one": own(TWO), "other": own(TWO[::-1])}, "class 0 is 'fig' in one and 'date' in the"),
        (["one", "other"], [], {"one": own(TWO), "other": own(("fig",))}, "mixes different numbers of classes"),
        (["one"], ["coco_2017_val"], {"one": own(TWO)}, "coco_2017_val with 80 classes, but .* has 2"),
        (
            ["ona"],
            [],
            {"one": own(TWO)},
            r"nor imports=\[my_data\] registers \(did you mean one\?\)",
        ),
        (["one"], [], {"one": own(None, unreadable="a.json: gone")}, r"cannot be read \(a\.json: gone\)"),
    ],
)
def test_what_contradicts_itself_is_refused(train: list[str], test: list[str], data_sets: Any, says: str):
    with pytest.raises(DataError, match=says):
        plan(keys(train, test), facts(**data_sets))


def test_a_typed_number_of_classes_that_contradicts_the_data_is_refused():
    name = "MODEL.ROI_HEADS.NUM_CLASSES"

    with pytest.raises(DataError, match=rf"{name}=7, but one has 2 classes. Leave {name} out"):
        plan(keys(["one"], [], MODEL__ROI_HEADS__NUM_CLASSES=7), facts(one=own(TWO)), f"{name}=7")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, r"imports=\[MODULE\]"),
        (facts(one=own(None)), r"has no thing_classes .* Set MetadataCatalog\.get\('one'\)\.thing_classes there"),
        (
            facts(needs_gpu="my_data asks for a GPU"),
            r"asks for a GPU\. Nothing that imports=\[my_data\] registers",
        ),
    ],
)
def test_what_is_not_known_of_a_data_set_is_said(found: OwnCodeFacts | None, says: str):
    planned = plan(keys(["one"], []), found)

    (notice,) = planned.notices
    assert re.search(says, notice)
    assert not {one.setting for one in planned.adjustments} & set(COUNTS)


def test_code_that_only_a_gpu_can_import_is_said_although_no_data_set_is_its_own():
    planned = plan(keys(["coco_2017_train"], []), facts(needs_gpu="my_data asks for a GPU"))

    assert "without a GPU the training fails" in planned.notices[0]


def test_a_data_set_of_stuff_alone_leaves_the_counts_of_things():
    planned = plan(keys(["one"], []), facts(one=own(None, is_semantic=True)))

    assert (planned.adjustments, planned.notices) == ((), ())
