from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.known_keys import Detectron2Keys
from launcher.config.names import ENUMERATIONS, NORMS, SAMPLERS, problems_with_names
from launcher.config.request import OwnCode, RunRequest
from tests.values import a_request, changed_keys

FPN = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x"
RETINANET = "COCO-Detection/retinanet_R_50_FPN_1x"
CASCADE = "Misc/cascade_mask_rcnn_R_50_FPN_1x"


def with_model(known: Detectron2Keys, model: str, **changes: Any) -> RunRequest:
    return a_request(changed_keys(Keys(_merged(known.defaults, known.zoo[model])), **changes))


def _merged(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: _merged(before[key], value) for key, value in after.items() if isinstance(value, dict)}
    return {**before, **after, **inner}


def test_no_model_of_the_zoo_has_a_problem(keys):
    assert {name: found for name in keys.zoo if (found := problems_with_names(with_model(keys, name), keys))} == {}


@pytest.mark.parametrize(
    ("model", "name", "value", "answer"),
    [
        (FPN, "MODEL.META_ARCHITECTURE", "GeneralisedRCNN", "GeneralizedRCNN"),
        (FPN, "MODEL.BACKBONE.NAME", "resnet50", "build_resnet_backbone"),
        (FPN, "MODEL.PROPOSAL_GENERATOR.NAME", "Rpn", "RPN"),
        (FPN, "MODEL.ROI_HEADS.NAME", "StandardRoiHeads", "StandardROIHeads"),
        (FPN, "MODEL.ROI_BOX_HEAD.NAME", "", "FastRCNNConvFCHead"),
        (FPN, "MODEL.RESNETS.NORM", "BatchNorm", "BN"),
        (FPN, "MODEL.RESNETS.DEPTH", 51, "50"),
        (FPN, "SOLVER.LR_SCHEDULER_NAME", "CosineLR", "WarmupCosineLR"),
        (FPN, "DATALOADER.SAMPLER_TRAIN", "Training", "TrainingSampler"),
        (FPN, "INPUT.RANDOM_FLIP", "both", "horizontal, vertical, none"),
        (FPN, "INPUT.RANDOM_FLIP", "Horizontal", "horizontal"),
        (FPN, "INPUT.MASK_FORMAT", "rle", "polygon, bitmask"),
        (FPN, "INPUT.FORMAT", "bgr", "BGR"),
        (FPN, "INPUT.MIN_SIZE_TRAIN_SAMPLING", "random", "choice, range"),
        (FPN, "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "RoIAlign", "ROIAlign"),
        (FPN, "MODEL.RPN.BBOX_REG_LOSS_TYPE", "l1", "smooth_l1"),
        (FPN, "MODEL.ANCHOR_GENERATOR.SIZES", [[32], [64]], "IN_FEATURES names 5 features"),
        (FPN, "MODEL.ANCHOR_GENERATOR.SIZES", [], "is empty"),
        (RETINANET, "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[1.0], [2.0]], "MODEL.RETINANET.IN_FEATURES names 5"),
        (FPN, "MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5", "p7"], "names p7, but build_resnet_fpn_backbone gives"),
        (FPN, "MODEL.ROI_HEADS.IN_FEATURES", ["res4"], "names res4"),
        (FPN, "MODEL.ROI_HEADS.IN_FEATURES", [], "is empty"),
        (FPN, "MODEL.PIXEL_MEAN", [1.0], "has 1 numbers and MODEL.PIXEL_STD 3"),
        (FPN, "INPUT.FORMAT", "L", "INPUT.FORMAT=L has 1 channel."),
        (FPN, "MODEL.PIXEL_STD", [1.0, 0.0, 1.0], "has a 0"),
        (FPN, "INPUT.MIN_SIZE_TRAIN", [], "is empty"),
        (FPN, "INPUT.MIN_SIZE_TRAIN", [-1], "must be > 0"),
        (FPN, "INPUT.MAX_SIZE_TEST", 0, "must be > 0"),
        (FPN, "INPUT.MIN_SIZE_TRAIN_SAMPLING", "range", "must be two sizes"),
        (FPN, "MODEL.RESNETS.DEPTH", 18, "needs MODEL.RESNETS.RES2_OUT_CHANNELS=64"),
        (FPN, "MODEL.ROI_HEADS.NAME", "Res5ROIHeads", "takes one feature"),
        (CASCADE, "MODEL.ROI_BOX_CASCADE_HEAD.IOUS", [0.5, 0.6], "has 3 entries"),
        (CASCADE, "MODEL.ROI_BOX_CASCADE_HEAD.IOUS", [0.4, 0.6, 0.7], "Both must begin alike"),
        (CASCADE, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", False, "CLS_AGNOSTIC_BBOX_REG=True"),
    ],
)
def test_what_detectron2_would_not_find_is_known_before_it_looks(keys, model, name, value, answer):
    problems = problems_with_names(with_model(keys, model, **{name: value}), keys)

    assert [problem for problem in problems if answer in problem], problems
    assert all(problem.endswith(".") for problem in problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL.META_ARCHITECTURE", "MyDetector"),
        ("MODEL.BACKBONE.NAME", "build_my_backbone"),
        ("INPUT.FORMAT", "my format"),
    ],
)
def test_names_that_code_of_ones_own_may_register_are_left_alone(keys, name, value):
    request = with_model(keys, FPN, **{name: value})

    assert problems_with_names(replace(request, own_code=OwnCode(imports=("mine",))), keys) == []
    assert problems_with_names(request, keys) != []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INPUT.CROP.TYPE", "unused"),
        ("MODEL.RETINANET.BBOX_REG_LOSS_TYPE", "unused"),
        ("MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE", "unused"),
        ("MODEL.FPN.NORM", "GN"),
        ("INPUT.MIN_SIZE_TRAIN", [0]),
    ],
)
def test_what_is_not_read_or_right_is_no_problem(keys, name, value):
    assert problems_with_names(with_model(keys, FPN, **{name: value}), keys) == []


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_whose_keys_this_detectron2_lacks_is_refused_and_the_others_pass(keys, sampler):
    request = with_model(keys, FPN, **{"DATALOADER.SAMPLER_TRAIN": sampler})
    has_its_keys = all(name in request.keys for name in SAMPLERS[sampler])

    problems = problems_with_names(request, keys)

    assert problems == [] if has_its_keys else "too old" in problems[0]


def test_every_enumerated_key_is_one_of_detectron2s(keys):
    defaults = Keys(keys.defaults)

    named = (*ENUMERATIONS, *NORMS, *(name for name in keys.names if name != "NORM"))
    assert [name for name in named if name not in defaults] == []
