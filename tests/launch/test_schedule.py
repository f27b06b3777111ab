"""A schedule that can hardly be meant for its data is named with what to set; the zoo's own on COCO never is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.known_keys import read_keys
from launcher.config.request import OwnCode
from launcher.data.plan import DataContent, DatasetPlan
from launcher.launch.schedule import schedule_warnings
from launcher.run.plan import PlanWarning
from tests.values import NO_DATA, TYPED, a_request, changed_keys

KNOWN = read_keys()
SOUND = changed_keys(
    Keys(KNOWN.defaults),
    DATASETS__TRAIN=["fruits_train"],
    MODEL__WEIGHTS="w.pkl",
    SOLVER__MAX_ITER=1000,
    SOLVER__STEPS=[700],
    SOLVER__WARMUP_ITERS=100,
    SOLVER__IMS_PER_BATCH=8,
)
"""80 epochs of a hundred images."""


def data_of(
    num_images: int, *, num_annotated: int | None = None, names: tuple[str, ...] = ("fruits_train",)
) -> DatasetPlan:
    annotated = num_images if num_annotated is None else num_annotated
    contents = [
        DataContent(name=name, num_images=num_images, num_annotated=annotated, num_objects=9, images_per_class={})
        for name in names
    ]
    return replace(NO_DATA, contents=tuple(contents))


def warned(num_images: int = 100, **keys: Any) -> tuple[PlanWarning, ...]:
    planned = changed_keys(SOUND, **keys)
    return schedule_warnings(a_request(planned), planned, data_of(num_images))


def test_a_sound_schedule_is_not_warned_of():
    assert warned() == ()


@pytest.mark.parametrize(
    ("code", "keys", "message"),
    [
        pytest.param(
            "plan.many_epochs",
            {"SOLVER__MAX_ITER": 270_000, "SOLVER__STEPS": [210_000, 250_000], "SOLVER__IMS_PER_BATCH": 16},
            r"270,000 iterations of 16 images are 43,200 epochs of 100 images. Set SOLVER.MAX_ITER=1000 "
            r"SOLVER.STEPS=\[778,926\] for 160 epochs",
            id="epochs",
        ),
        pytest.param(
            "plan.long_warm_up",
            {"SOLVER__WARMUP_ITERS": 1000},
            r"WARMUP_ITERS=1000, SOLVER.MAX_ITER=1000\). Set SOLVER.WARMUP_ITERS=100",
            id="warm-up",
        ),
        pytest.param(
            "plan.late_steps",
            {"SOLVER__STEPS": [500, 30_000]},
            r"not lowered at SOLVER.STEPS=\[30000\], .* Set SOLVER.STEPS=\[700,900\]",
            id="steps",
        ),
        pytest.param(
            "plan.large_batch", {"SOLVER__IMS_PER_BATCH": 128}, r"Set SOLVER.IMS_PER_BATCH=100 or less", id="batch"
        ),
        pytest.param("plan.default_model", {"MODEL__WEIGHTS": ""}, r"Choose one, for example model=COCO", id="model"),
    ],
)
def test_what_can_hardly_be_meant_is_named_with_what_to_set(code: str, keys: dict[str, Any], message: str):
    (warning,) = [one for one in warned(**keys) if one.code == code]

    assert re.search(message, warning.text)


@pytest.mark.parametrize("num_images", [2, 16, 300, 5000, 20_000])
@pytest.mark.parametrize("batch", [2, 16])
def test_a_suggested_schedule_is_not_warned_of(num_images: int, batch: int):
    long = {"SOLVER__MAX_ITER": 10**7, "SOLVER__STEPS": [9 * 10**6], "SOLVER__IMS_PER_BATCH": batch}
    found = warned(num_images, **long, SOLVER__WARMUP_ITERS=1000)
    (warning,) = [one for one in found if one.code == "plan.many_epochs"]
    total, step = map(int, re.findall(r"MAX_ITER=(\d+) SOLVER.STEPS=\[(\d+)\]", warning.text)[0])
    warm_up = re.findall(r"WARMUP_ITERS=(\d+)", warning.text) or [1000]

    suggested = {"SOLVER__MAX_ITER": total, "SOLVER__STEPS": [step], "SOLVER__WARMUP_ITERS": int(warm_up[0])}

    assert [one.code for one in warned(num_images, **{**long, **suggested}) if one.code != "plan.large_batch"] == []


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"SOLVER__MAX_ITER": 1, "SOLVER__STEPS": []}, id="one iteration"),
        pytest.param({"SOLVER__MAX_ITER": 100, "SOLVER__WARMUP_ITERS": 1000}, id="a trial"),
        pytest.param({"SOLVER__WARMUP_ITERS": 1000, "SOLVER__WARMUP_FACTOR": 1.0}, id="no warm-up"),
        pytest.param({"SOLVER__STEPS": [30_000], "SOLVER__LR_SCHEDULER_NAME": "WarmupCosineLR"}, id="no steps"),
        pytest.param({"MODEL__WEIGHTS": "", "MODEL__BACKBONE__NAME": "build_resnet_fpn_backbone"}, id="own model"),
    ],
)
def test_what_may_be_meant_is_not_warned_of(keys: dict[str, Any]):
    assert warned(**keys) == ()


def test_a_trainer_of_ones_own_may_have_another_model_and_schedule():
    keys = changed_keys(SOUND, MODEL__WEIGHTS="", SOLVER__WARMUP_ITERS=5000)

    assert schedule_warnings(a_request(keys, own_code=OwnCode(trainer="mine:Mine")), keys, data_of(100)) == ()


def test_images_without_objects_count_only_where_they_are_trained_on():
    keys = changed_keys(SOUND, SOLVER__IMS_PER_BATCH=20, SOLVER__MAX_ITER=150, SOLVER__STEPS=[])
    kept = changed_keys(keys, DATALOADER__FILTER_EMPTY_ANNOTATIONS=False)
    data = data_of(100, num_annotated=10)

    assert [one.code for one in schedule_warnings(a_request(keys), keys, data)] == ["plan.large_batch"]
    assert schedule_warnings(a_request(kept), kept, data) == ()


def test_data_that_nobody_read_is_not_judged():
    keys = changed_keys(SOUND, SOLVER__MAX_ITER=10**7)

    assert schedule_warnings(a_request(keys), keys, NO_DATA) == ()


@pytest.mark.parametrize("name", KNOWN.zoo)
def test_a_model_of_the_zoo_on_its_own_data_is_not_warned_of(name: str):
    zoo = dict(Keys(KNOWN.zoo[name]).leaves())
    keys = Keys.of_leaves({**dict(Keys(KNOWN.defaults).leaves()), **zoo}.items())
    request = a_request(keys, typed=replace(TYPED, overrides=(f"model={name}",)))
    names = tuple(keys["DATASETS.TRAIN"])
    contents = [content for one in names for content in data_of(SIZES[_family(one)], names=(one,)).contents]
    data = replace(NO_DATA, contents=tuple(contents))

    assert schedule_warnings(request, keys, data) == ()


SIZES = {"val_100": 100, "val": 4952, "lvis": 99_388, "voc": 8218, "cityscapes": 2965, "coco": 117_266}
"""Images with objects of the data sets that the zoo trains on."""


def _family(name: str) -> str:
    return next(family for family in SIZES if family in name or family == "coco")
