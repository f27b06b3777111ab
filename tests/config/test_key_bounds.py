"""Numbers that detectron2 would fail with, each as its own training did."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.config.key_bounds import BOUNDS, problems_with_bounds
from launcher.config.keys import Keys
from launcher.config.known_keys import read_keys
from launcher.config.readers import is_read
from launcher.config.request import OwnCode
from tests.values import a_request, changed_keys

KNOWN = read_keys()


def keys_of(zoo_name: str, **values: Any) -> Keys:
    zoo = Keys(KNOWN.zoo[zoo_name])
    return changed_keys(Keys(KNOWN.defaults), **{**dict(zoo.leaves()), **values})


def problems(zoo_name: str = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x", **values: Any) -> list[str]:
    return problems_with_bounds(a_request(keys_of(zoo_name, **values)))


@pytest.mark.parametrize("zoo_name", sorted(KNOWN.zoo))
def test_no_model_of_the_zoo_is_refused(zoo_name: str):
    assert problems(zoo_name) == []


@pytest.mark.parametrize("name", sorted(name for name in BOUNDS if name in Keys(KNOWN.defaults)))
def test_every_bound_is_of_a_key_and_holds_its_default(name: str):
    default = Keys(KNOWN.defaults)[name]
    numbers = default if isinstance(default, list) else [default]

    assert all(one in BOUNDS[name].allowed for one in numbers if isinstance(one, int | float))


def test_every_bound_is_of_a_key_that_detectron2_has():
    assert [name for name in BOUNDS if name not in Keys(KNOWN.defaults)] == []


RETINANET = "COCO-Detection/retinanet_R_50_FPN_1x"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"SOLVER.MOMENTUM": 2}, "SOLVER.MOMENTUM=2: must be in [0, 1)."),
        ({"SOLVER.MOMENTUM": 0, "SOLVER.NESTEROV": True}, "SOLVER.NESTEROV=True needs SOLVER.MOMENTUM > 0"),
        ({"SOLVER.CHECKPOINT_PERIOD": -1}, "SOLVER.CHECKPOINT_PERIOD=-1: must be >= 0 (0 saves at the end only)."),
        ({"SOLVER.WEIGHT_DECAY": -1.0}, "SOLVER.WEIGHT_DECAY=-1: must be >= 0."),
        ({"SOLVER.WEIGHT_DECAY_BIAS": "a"}, "SOLVER.WEIGHT_DECAY_BIAS=a: must be a number, not 'a'."),
        ({"VIS_PERIOD": -1}, "VIS_PERIOD=-1: must be >= 0 (0 draws nothing)."),
        ({"TEST.AUG.ENABLED": True, "TEST.AUG.MIN_SIZES": []}, "TEST.AUG.MIN_SIZES=[]: it must have at least 1 entry."),
        (
            {"TEST.PRECISE_BN.ENABLED": True, "TEST.PRECISE_BN.NUM_ITER": 0},
            "TEST.PRECISE_BN.NUM_ITER=0: must be >= 1.",
        ),
        ({"MODEL.RPN.BATCH_SIZE_PER_IMAGE": -1}, "MODEL.RPN.BATCH_SIZE_PER_IMAGE=-1: must be >= 1."),
        ({"MODEL.RPN.BBOX_REG_WEIGHTS": [1.0]}, "MODEL.RPN.BBOX_REG_WEIGHTS=[1.0]: it must have 4 entries."),
        ({"MODEL.RPN.CONV_DIMS": [2.5]}, "MODEL.RPN.CONV_DIMS=[2.5]: every number must be a whole number."),
        ({"MODEL.RPN.CONV_DIMS": [-2]}, "MODEL.RPN.CONV_DIMS=[-2]: every number must be >= -1 (-1 keeps"),
        ({"MODEL.RPN.IOU_THRESHOLDS": []}, "MODEL.RPN.IOU_THRESHOLDS=[]: it must have at least 1 entry."),
        ({"MODEL.RPN.IOU_THRESHOLDS": [0.7, 0.3]}, "must not fall. Set MODEL.RPN.IOU_THRESHOLDS=[0.3,0.7]."),
        ({"MODEL.RPN.IOU_LABELS": [0, 1]}, "MODEL.RPN.IOU_LABELS has 2 entries and MODEL.RPN.IOU_THRESHOLDS 2."),
        ({"MODEL.ROI_HEADS.IOU_LABELS": [0, 2]}, "MODEL.ROI_HEADS.IOU_LABELS=[0,2]: every label must be 0"),
        ({"MODEL.ANCHOR_GENERATOR.SIZES": [[32], []]}, "each list must have at least 1 entry."),
        ({"MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 0]]}, "every number must be > 0."),
        ({"MODEL.ANCHOR_GENERATOR.OFFSET": 1.0}, "MODEL.ANCHOR_GENERATOR.OFFSET=1: must be in [0, 1)."),
        ({"MODEL.FPN.OUT_CHANNELS": 0}, "MODEL.FPN.OUT_CHANNELS=0: must be >= 1."),
        ({"MODEL.FPN.OUT_CHANNELS": 48, "MODEL.FPN.NORM": "GN"}, "MODEL.FPN.NORM=GN makes 32 groups of channels"),
        ({"MODEL.RESNETS.DEFORM_ON_PER_STAGE": [False]}, "it must have at least 4 entries."),
        (
            {"MODEL.ROI_BOX_HEAD.NUM_FC": 0},
            "MODEL.ROI_BOX_HEAD.NUM_FC and MODEL.ROI_BOX_HEAD.NUM_CONV are both 0.",
        ),
        ({"MODEL.ROI_BOX_HEAD.USE_FED_LOSS": True}, "USE_FED_LOSS=True needs MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE=True"),
        (
            {"MODEL.ROI_BOX_HEAD.USE_FED_LOSS": True, "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True},
            "detectron2 knows of lvis_v1_train and not of coco_2017_train",
        ),
        (
            {"INPUT.CROP.ENABLED": True, "INPUT.CROP.SIZE": [2, 2]},
            "with INPUT.CROP.TYPE=relative_range every number must be in (0, 1].",
        ),
        (
            {"INPUT.CROP.ENABLED": True, "INPUT.CROP.TYPE": "absolute"},
            "with INPUT.CROP.TYPE=absolute every number must be >= 1.",
        ),
        ({"INPUT.CROP.ENABLED": True, "INPUT.CROP.SIZE": [0.5]}, "it must have 2 entries, height and width."),
        (
            {"MODEL.LOAD_PROPOSALS": True},
            "DATASETS.TRAIN names 1 data sets and DATASETS.PROPOSAL_FILES_TRAIN 0 files. Name one file for each.",
        ),
        (
            {"MODEL.LOAD_PROPOSALS": True, "DATASETS.PROPOSAL_FILES_TRAIN": ["/nowhere.pkl"]},
            "DATASETS.PROPOSAL_FILES_TRAIN: there is no file /nowhere.pkl.",
        ),
        ({"MODEL.PROPOSAL_GENERATOR.NAME": "PrecomputedProposals"}, "Set MODEL.LOAD_PROPOSALS=True too."),
        (
            {"SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR", "SOLVER.BASE_LR_END": 1.0},
            "SOLVER.BASE_LR=0.02 and SOLVER.BASE_LR_END=1: with SOLVER.LR_SCHEDULER_NAME=WarmupCosineLR",
        ),
        ({"SOLVER.RESCALE_INTERVAL": True, "SOLVER.WARMUP_ITERS": 90000}, "SOLVER.RESCALE_INTERVAL=True needs"),
    ],
)
def test_a_value_that_training_would_fail_with_is_refused(values: dict[str, Any], problem: str):
    assert problem in "\n".join(problems(**values, **{"DATASETS.TRAIN": ["coco_2017_train"]}))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"MODEL.RETINANET.PRIOR_PROB": 1.0}, "MODEL.RETINANET.PRIOR_PROB=1: must be in (0, 1)."),
        ({"MODEL.RETINANET.NUM_CONVS": 0}, "MODEL.RETINANET.NUM_CONVS=0: must be >= 1."),
        ({"MODEL.RETINANET.IOU_THRESHOLDS": [0.4]}, "MODEL.RETINANET.IOU_LABELS has 3 entries"),
    ],
)
def test_those_of_a_retinanet_too(values: dict[str, Any], problem: str):
    assert problem in "\n".join(problems(RETINANET, **values))


@pytest.mark.parametrize(
    ("zoo_name", "values"),
    [
        (RETINANET, {"MODEL.ROI_BOX_HEAD.FC_DIM": 0, "MODEL.RPN.IOU_LABELS": []}),
        ("COCO-Detection/faster_rcnn_R_50_C4_1x", {"MODEL.FPN.OUT_CHANNELS": 0, "MODEL.ROI_BOX_HEAD.FC_DIM": 0}),
        (RETINANET, {"TEST.AUG.MIN_SIZES": [], "INPUT.CROP.SIZE": [3, 3]}),
        (RETINANET, {"SOLVER.CLIP_GRADIENTS.ENABLED": True, "SOLVER.CLIP_GRADIENTS.NORM_TYPE": float("inf")}),
        (RETINANET, {"SOLVER.WEIGHT_DECAY_BIAS": None}),
        (
            "COCO-Detection/faster_rcnn_R_50_FPN_1x",
            {"MODEL.ROI_BOX_HEAD.NORM": "GN", "MODEL.ROI_BOX_HEAD.CONV_DIM": 50},
        ),
    ],
)
def test_what_is_not_read_or_can_be_meant_is_nobodys_business(zoo_name: str, values: dict[str, Any]):
    assert problems(zoo_name, **values) == []


def test_rotated_boxes_have_five_weights():
    rotated = {"MODEL.PROPOSAL_GENERATOR.NAME": "RRPN", "MODEL.RPN.BBOX_REG_WEIGHTS": [1.0] * 5}

    assert problems(**rotated) == []


def test_code_of_ones_own_may_read_keys_in_its_own_way():
    request = a_request(keys_of(RETINANET, **{"SOLVER.MOMENTUM": 2}), own_code=OwnCode(trainer="mine:Mine"))

    assert problems_with_bounds(request) == []


def test_a_key_is_read_where_everything_that_it_needs_is_chosen():
    mask = keys_of("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x")

    assert is_read("MODEL.ROI_MASK_HEAD.CONV_DIM", mask)
    assert not is_read("MODEL.ROI_MASK_HEAD.CONV_DIM", keys_of(RETINANET, **{"MODEL.MASK_ON": True}))
