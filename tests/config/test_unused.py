from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.known_keys import read_keys
from launcher.config.request import (
    CheckpointSettings,
    DatasetKind,
    DatasetRequest,
    DeviceChoice,
    DeviceRequest,
    EarlyStoppingSettings,
    OwnCode,
    Precision,
    RunRequest,
)
from launcher.config.task import TRAIN, EvaluateRequest, PredictRequest
from launcher.config.unused import DEPENDENT, notices_of_unused, typed_without_effect
from tests.values import TYPED, a_request, changed_keys

EVALUATE = EvaluateRequest(run="", checkpoint="", out="")
PREDICT = PredictRequest(run="", checkpoint="", out="", inputs=("photos",), threshold=0.5, draw=False, images_json="")
KEYS = Keys(read_keys().defaults)


def typing(*overrides: str, keys: dict[str, Any] | None = None, **settings: Any) -> RunRequest:
    """A request of detectron2's defaults for which this was typed."""
    return a_request(changed_keys(KEYS, **(keys or {})), typed=replace(TYPED, overrides=overrides), **settings)


@pytest.mark.parametrize(
    ("typed", "needs"),
    [
        ("early_stopping.patience=5", "early_stopping.metric"),
        ("early_stopping.mode=min", "early_stopping.metric"),
        ("checkpoint.best_mode=max", "checkpoint.keep_best"),
        ("dataset.name=fruits", "dataset=coco_json"),
    ],
)
def test_what_is_relied_on_and_does_nothing_is_refused_even_at_its_default(typed: str, needs: str):
    (problem,) = typed_without_effect(typing(typed))

    assert problem.startswith(f"{typed.partition('=')[0]} has no effect. Add {needs}")


def test_a_precision_needs_mixed_precision():
    asked = DeviceRequest(precision=Precision.bfloat16)

    (problem,) = typed_without_effect(typing("device.precision=bfloat16", device=asked))
    amp = typing("device.precision=bfloat16", device=asked, keys={"SOLVER.AMP.ENABLED": True})

    assert "SOLVER.AMP.ENABLED=True" in problem
    assert list(typed_without_effect(amp)) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"early_stopping": EarlyStoppingSettings(metric="bbox/AP")},
        {"checkpoint": CheckpointSettings(keep_best="bbox/AP")},
        {"dataset": DatasetRequest(kind=DatasetKind.coco_json)},
    ],
)
def test_with_its_option_chosen_it_has_an_effect(settings: dict[str, Any]):
    name = {"early_stopping": "patience", "checkpoint": "best_mode", "dataset": "name"}[next(iter(settings))]

    assert list(typed_without_effect(typing(f"{next(iter(settings))}.{name}=x", **settings))) == []


@pytest.mark.parametrize(
    ("typed", "needs"),
    [
        ("MODEL.ROI_MASK_HEAD.NUM_CONV=2", "MODEL.MASK_ON=True"),
        ("SOLVER.CLIP_GRADIENTS.CLIP_VALUE=3", "SOLVER.CLIP_GRADIENTS.ENABLED=True"),
        ("MODEL.RETINANET.NUM_CLASSES=3", "a RetinaNet"),
        ("DATALOADER.REPEAT_THRESHOLD=0.1", "RepeatFactorTrainingSampler"),
        ("TEST.AUG.MAX_SIZE=3", "tools/train_net.py"),
        ("TEST.EXPECTED_RESULTS=[[bbox,AP,38.5,0.2]]", "tools/train_net.py"),
        ("MODEL.SEM_SEG_HEAD.CONVS_DIM=64", "semantic or panoptic segmentation"),
        ("MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT=2", "a panoptic model"),
        ("MODEL.ROI_BOX_CASCADE_HEAD.IOUS=[0.5]", "MODEL.ROI_HEADS.NAME=CascadeROIHeads"),
        ("MODEL.FPN.OUT_CHANNELS=64", "a backbone with an FPN"),
        ("MODEL.ROI_BOX_HEAD.NUM_FC=1", "MODEL.ROI_HEADS.NAME=StandardROIHeads"),
        ("SOLVER.BASE_LR_END=0.1", "SOLVER.LR_SCHEDULER_NAME=WarmupCosineLR"),
    ],
)
def test_a_typed_key_that_the_model_does_not_read_is_a_notice(typed: str, needs: str):
    (notice,) = notices_of_unused(typing(typed))

    assert notice.startswith(f"{typed.partition('=')[0]} has no effect without ")
    assert needs in notice


@pytest.mark.parametrize(
    "typed",
    [
        "MODEL.MASK_ON=True",
        "MODEL.KEYPOINT_ON=True",
        "MODEL.ROI_MASK_HEAD.CONV_DIM=3",
        "MODEL.ROI_BOX_CASCADE_HEAD.IOUS=[0.5]",
    ],
)
def test_what_two_choices_would_be_needed_for_is_one_notice(typed: str):
    (notice,) = notices_of_unused(typing(typed, keys={"MODEL.META_ARCHITECTURE": "RetinaNet"}))

    assert notice == f"{typed.partition('=')[0]} has no effect without a model with ROI heads (model=...)"


@pytest.mark.parametrize(
    ("scheduler", "notices"),
    [
        ("WarmupMultiStepLR", ["solver=cosine has no effect beside SOLVER.LR_SCHEDULER_NAME=WarmupMultiStepLR"]),
        ("WarmupCosineLR", []),
    ],
)
def test_a_preset_of_which_another_scheduler_is_left_is_a_notice(scheduler: str, notices: list[str]):
    typed = typing("solver=cosine", keys={"SOLVER.LR_SCHEDULER_NAME": scheduler})

    assert list(notices_of_unused(typed)) == notices


def test_a_trainer_of_ones_own_may_look_at_what_no_other_does():
    mine = typing("TEST.EXPECTED_RESULTS=[[bbox,AP,38.5,0.2]]", own_code=OwnCode(trainer="mine:Mine"))

    assert list(notices_of_unused(mine)) == []


@pytest.mark.parametrize("typed", [(), ("TEST.AUG.ENABLED=True",), ("TEST.AUG.ENABLED=True", "TEST.AUG.MAX_SIZE=900")])
@pytest.mark.parametrize("task", [TRAIN, EVALUATE, PREDICT])
def test_augmentation_that_evaluations_and_predictions_do_not_apply_is_one_notice_whoever_set_it(
    typed: tuple[str, ...], task: Any
):
    request = typing(*typed, keys={"TEST.AUG.ENABLED": True})

    (notice,) = notices_of_unused(replace(request, typed=replace(request.typed, task=task)))

    assert notice.startswith("TEST.AUG.ENABLED=True has no effect: evaluations and predictions use each image once")


@pytest.mark.parametrize("mine", [OwnCode(trainer="mine:Mine"), OwnCode(imports=("mine",))])
def test_code_of_ones_own_does_not_silence_augmentation_that_only_it_could_apply(mine: OwnCode):
    (notice,) = notices_of_unused(typing(keys={"TEST.AUG.ENABLED": True}, own_code=mine))

    assert notice.startswith("TEST.AUG.ENABLED=True has no effect unless your own code reads it: ")


def test_keys_of_recipes_and_of_architectures_of_ones_own_are_no_notice():
    recipe = typing(keys={"SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 7.0})
    mine = typing("MODEL.RETINANET.NUM_CLASSES=3", keys={"MODEL.META_ARCHITECTURE": "MyRetina"})

    assert list(notices_of_unused(recipe)) == []
    assert list(notices_of_unused(mine)) == []


def test_a_file_that_sets_what_does_nothing_is_a_notice_and_no_refusal():
    request = typing(early_stopping=EarlyStoppingSettings(patience=3))

    assert list(typed_without_effect(request)) == []
    assert list(notices_of_unused(request)) == [
        "early_stopping.patience has no effect without early_stopping.metric=bbox/AP"
    ]


def test_thresholds_for_gpus_do_nothing_on_the_cpu():
    cpu = DeviceRequest(choice=DeviceChoice.cpu, min_free_gib=3.0)

    (notice,) = notices_of_unused(typing("device.min_free_gib=3", device=cpu))

    assert notice.startswith("device.min_free_gib has no effect without")


def test_every_key_of_the_table_stands_below_a_node_of_detectron2s():
    # Some keys came with later versions.
    nodes = [name.rpartition(".")[0] for one in DEPENDENT for name in one.names if name.isupper()]

    assert [node for node in nodes if node not in KEYS] == []
