"""Every way in which a request can be wrong by itself has one example here, made from a sound one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from launcher.config.checks import KEY_RANGES, problems_with_request, refuse_wrong
from launcher.config.keys import Keys
from launcher.config.known_keys import read_keys
from launcher.config.ranges import numbers_of
from launcher.config.request import DatasetKind, DeviceChoice, Found, RunRequest, Scaling, SplitRequest, ValRequest
from launcher.config.schema import OWN_NODES
from launcher.errors import RequestError
from tests.values import a_request

SOUND = {"DATASETS.TRAIN": ["a_train"], "DATASETS.TEST": ["a_val"]}
FILES = SplitRequest(json="a.json", images="a")
VAL_FILES = ValRequest(json="a.json", images="a")
COCO = {
    "dataset.kind": DatasetKind.coco_json,
    "dataset.name": "fruits",
    "dataset.train": FILES,
    "dataset.val": VAL_FILES,
    "DATASETS.TRAIN": ["fruits_train"],
    "DATASETS.TEST": ["fruits_val"],
}
EARLY = {"early_stopping.metric": "bbox/AP", "TEST.EVAL_PERIOD": 10}
MASKS = COCO | {"MODEL.MASK_ON": True}
TWO_TEST_SETS = {"DATASETS.TEST": ["coco_2017_val", "voc_2007_test"]}
WEIGHTED = {"DATALOADER.SAMPLER_TRAIN": "WeightedTrainingSampler"}
BY_CATEGORY = {"DATALOADER.SAMPLER_TRAIN": "WeightedCategoryTrainingSampler"}
REPEAT = "DATASETS.TRAIN_REPEAT_FACTOR"
CPU, CUDA = DeviceChoice.cpu, DeviceChoice.cuda


def request_with(**changes: Any) -> RunRequest:
    """A sound request but for these settings."""
    leaves = dict(Keys(read_keys().defaults).leaves())
    changes = {**SOUND, **changes}
    request = a_request(Keys.of_leaves({**leaves, **{k: v for k, v in changes.items() if k.isupper()}}.items()))
    for name, value in changes.items():
        if not name.isupper():
            request = _with(request, name, value)
    return request


def _with(settings: Any, name: str, value: Any) -> Any:
    section, _, rest = name.partition(".")
    return replace(settings, **{section: _with(getattr(settings, section), rest, value) if rest else value})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        COCO,
        COCO | {"dataset.val": ValRequest()},
        COCO | {"dataset.val": replace(VAL_FILES, fraction=0.2, seed=3)},
        COCO | EARLY,
        EARLY,
        {"device.count": "all", "device.ids": [0, "GPU-1"], "device.choice": CUDA},
        {"device.count": "2", "device.choice": CPU},
        {"device.count": 3, "scaling": Scaling.linear, "SOLVER.REFERENCE_WORLD_SIZE": 8},
        {"run.name": "a/b..c", "run.root": ".", "OUTPUT_DIR": "."},
        {"run.time_limit": "1-12:00:00"},
        {"dataset.name": "voc_2007"},
        {"MODEL.META_ARCHITECTURE": "PanopticFPN"},
        WEIGHTED | {"DATASETS.TRAIN": ["a", "b"], REPEAT: [["a", 0]]},
        {REPEAT: ["unread"]},
        {"DATALOADER.RANDOM_SUBSET_RATIO": 7.0},
        {"SOLVER.CLIP_GRADIENTS.NORM_TYPE": math.inf},
        {"checkpoint.keep_best": "anything/of/mine"},
        MASKS | {"checkpoint.keep_best": "segm/AP"},
        MASKS | {"checkpoint.keep_best": "bbox/AP-apple"},
        MASKS | {"checkpoint.keep_best": "anything", "own_code.imports": ("mine",)},
        MASKS | {"checkpoint.keep_best": "anything", "MODEL.META_ARCHITECTURE": "MyDetector"},
        TWO_TEST_SETS | {"checkpoint.keep_best": "voc_2007_test/bbox/AP50"},
        {"own_code.imports": ("a.b_c", "d"), "own_code.trainer": "a.b:C.D"},
    ],
)
def test_what_can_be_meant_passes_without_a_word(changes: dict[str, Any]):
    request = request_with(**changes)

    refuse_wrong(request)

    assert problems_with_request(request) == []


@pytest.mark.parametrize(
    ("changes", "start", "answer"),
    [
        ({"device.count": 0}, "device.count=0: must be", "device.count=1"),
        ({"device.count": -1}, "device.count=-1: must be", "device.count=1"),
        ({"device.count": 1.5}, "device.count=1.5: must be", "or all"),
        ({"device.count": "many"}, "device.count=many: must be", "or all"),
        ({"device.count": None}, "device.count=None: must be", "or all"),
        ({"device.count": ""}, "device.count=: must be", "or all"),
        ({"device.ids": [1.5]}, "device.ids: 1.5 is neither an index nor a UUID", "device.ids=[0,1]"),
        ({"device.ids": [True]}, "device.ids: True is neither", "device.ids=[0,1]"),
        ({"device.ids": [""]}, "device.ids: '' is neither", "device.ids=[0,1]"),
        ({"device.ids": [0, "0"]}, "device.ids=[0,0] names a GPU twice", "once"),
        ({"device.ids": [0], "device.choice": CPU}, "device.ids=[0] names GPUs, but device.choice=cpu", "Leave one"),
        (
            {"device.choice": CUDA, "MODEL.DEVICE": "cpu"},
            "device.choice=cuda contradicts MODEL.DEVICE=cpu",
            "device=cpu",
        ),
        (
            {"device.count": 3},
            "device.count=3: SOLVER.IMS_PER_BATCH=16 cannot be shared equally by 3 processes",
            "IMS_PER_BATCH=15 or 18, or device.count=2 or 4.",
        ),
        (
            {"device.count": 4, "SOLVER.IMS_PER_BATCH": 2},
            "device.count=4: SOLVER.IMS_PER_BATCH=2 cannot",
            "IMS_PER_BATCH=4, or device.count=2.",
        ),
        ({"device.count": 3, "SOLVER.REFERENCE_WORLD_SIZE": 8}, "device.count=3: ", "equally by 3"),
        (
            {"DATASETS.TRAIN": []},
            "DATASETS.TRAIN is empty",
            "dataset=coco_2017, or a whole recipe, for example experiment",
        ),
        (COCO | {"DATASETS.TRAIN": []}, "DATASETS.TRAIN is empty", "Choose a data set"),
        (
            COCO | {"dataset.train": SplitRequest(images="x")},
            "dataset.train.json is not set",
            "dataset.train.json=PATH",
        ),
        (COCO | {"dataset.train": SplitRequest(json="x")}, "dataset.train.images is not set", "train.images=PATH"),
        (COCO | {"dataset.val": ValRequest(json="x")}, "dataset.val.images is not set", "dataset.val.images=PATH"),
        (COCO | {"dataset.val": ValRequest(images="x")}, "dataset.val.json is not set", "dataset.val.json=PATH"),
        (COCO | EARLY | {"dataset.val": ValRequest(images="x")}, "dataset.val.json is not set", "val.json=PATH"),
        (COCO | {"dataset.name": ""}, "dataset.name is empty", "dataset.name=fruits"),
        (COCO | {"dataset.name": "../x"}, "dataset.name=../x is a path, not a name", "dataset.name=fruits"),
        (COCO | {"dataset.name": "/x"}, "dataset.name=/x is a path, not a name", "dataset.name=fruits"),
        (
            COCO | {"dataset.name": "ade20k_sem_seg"},
            "dataset.name=ade20k_sem_seg would give ade20k_sem_seg_train, ade20k_sem_seg_val, which detectron2 has",
            "another dataset.name",
        ),
        (
            COCO | {"MODEL.META_ARCHITECTURE": "PanopticFPN"},
            "MODEL.META_ARCHITECTURE=PanopticFPN learns semantic labels",
            "mask_rcnn_R_50_FPN_3x",
        ),
        (COCO | {"MODEL.META_ARCHITECTURE": "SemanticSegmentor"}, "MODEL.META_ARCHITECTURE=SemanticS", "model=COCO"),
        (COCO | {"MODEL.META_ARCHITECTURE": "PanopticDeepLab"}, "MODEL.META_ARCHITECTURE=PanopticD", "model=COCO"),
        (COCO | {"dataset.name": "a/b"}, "dataset.name=a/b is a path, not a name", "dataset.name=fruits"),
        ({"OUTPUT_DIR": "/"}, "OUTPUT_DIR=/: that is a folder of the system.", "Set OUTPUT_DIR=FOLDER"),
        ({"OUTPUT_DIR": "/proc/x"}, "OUTPUT_DIR=/proc/x: that is a folder of the system.", "Set OUTPUT_DIR=FOLDER"),
        ({"run.root": "/sys"}, "run.root=/sys: that is a folder of the system.", "Set run.root=FOLDER"),
        (COCO | {"OUTPUT_DIR": "a/../a"}, "OUTPUT_DIR=a/../a: that is dataset.train.images", ""),
        ({"OUTPUT_DIR": ""}, "OUTPUT_DIR is empty", "OUTPUT_DIR=DIR"),
        ({"run.root": ""}, "run.root is empty", "run.root=DIR"),
        ({"run.name": "../../x"}, "run.name=../../x is not a folder below run.root", "run.name=NAME"),
        ({"run.name": "/x"}, "run.name=/x is not a folder below run.root", "run.root=DIR"),
        ({"run.name": "."}, "run.name=. is not a folder below run.root", "run.name=NAME"),
        ({"run.time_limit": "soon"}, "run.time_limit=soon is not a time", "D-HH:MM:SS"),
        ({"run.time_limit": -5}, "run.time_limit=-5 is not a time", "0 for no limit"),
        (EARLY | {"DATASETS.TEST": []}, "early_stopping.metric=bbox/AP, but there is nothing", "DATASETS.TEST=[NAME]"),
        (COCO | EARLY | {"dataset.val": ValRequest()}, "early_stopping.metric=bbox/AP, but there is nothing", "TEST"),
        (
            EARLY | {"TEST.EVAL_PERIOD": 0},
            "early_stopping.metric=bbox/AP, but nothing is",
            "TEST.EVAL_PERIOD=ITERATIONS",
        ),
        ({"SOLVER.MAX_ITER": 0}, "SOLVER.MAX_ITER=0: must be >= 1.", ""),
        ({"SOLVER.IMS_PER_BATCH": 0}, "SOLVER.IMS_PER_BATCH=0: must be >= 1.", ""),
        ({"SOLVER.BASE_LR": -1.0}, "SOLVER.BASE_LR=-1: must be >= 0.", ""),
        ({"SEED": 2**32}, "SEED=4294967296: must be in [-1, 4294967295]", "-1 draws one"),
        ({"DATALOADER.NUM_WORKERS": -1}, "DATALOADER.NUM_WORKERS=-1: must be >= 0.", ""),
        (
            {"SOLVER.STEPS": [60, 90], "SOLVER.MAX_ITER": 90},
            "SOLVER.STEPS=[60,90]: steps must increase from above 0 and lie below SOLVER.MAX_ITER=90.",
            "Set SOLVER.STEPS=[60].",
        ),
        (
            {"SOLVER.STEPS": [30, 20], "SOLVER.MAX_ITER": 90},
            "SOLVER.STEPS=[30,20]: steps must increase",
            "STEPS=[20,30]",
        ),
        ({"SOLVER.STEPS": [0, 20], "SOLVER.MAX_ITER": 90}, "SOLVER.STEPS=[0,20]: steps must", "Set SOLVER.STEPS=[20]."),
        ({"SOLVER.REFERENCE_WORLD_SIZE": -1}, "SOLVER.REFERENCE_WORLD_SIZE=-1: must be >= 0", "0 stands for"),
        ({"SOLVER.BASE_LR": math.nan}, "SOLVER.BASE_LR=nan: must be >= 0.", ""),
        ({"SOLVER.WARMUP_FACTOR": math.nan}, "SOLVER.WARMUP_FACTOR=nan", "must not be NaN"),
        ({"MODEL.PIXEL_MEAN": [1.0, math.nan]}, "MODEL.PIXEL_MEAN=[1.0,nan]", "must not be NaN"),
        (
            {"scaling": Scaling.linear, "SOLVER.REFERENCE_WORLD_SIZE": 5},
            "scaling=linear: SOLVER.IMS_PER_BATCH=16 cannot be shared equally by the processes that it was made for",
            "IMS_PER_BATCH=15 or 20, or leave scaling=linear out",
        ),
        (
            {"DATALOADER.SAMPLER_TRAIN": "RandomSubsetTrainingSampler", "DATALOADER.RANDOM_SUBSET_RATIO": 0.0},
            "DATALOADER.RANDOM_SUBSET_RATIO=0: must be in (0, 1].",
            "",
        ),
        (
            WEIGHTED | {REPEAT: ["a"]},
            "DATASETS.TRAIN_REPEAT_FACTOR=['a'] is no",
            "[[NAME,FACTOR]",
        ),
        (WEIGHTED | {REPEAT: [["a_train", "x"]]}, f"{REPEAT}=[[", "[[NAME,"),
        (
            WEIGHTED | {REPEAT: [["b", 1]]},
            "DATASETS.TRAIN_REPEAT_FACTOR=[['b',1]] names b",
            "a_train",
        ),
        (
            WEIGHTED | {REPEAT: [["a_train", -1]]},
            f"{REPEAT}=[['a_train',-1]]: with WeightedTrainingSampler each factor must be >= 0.",
            "",
        ),
        (
            WEIGHTED | {REPEAT: [["a_train", 0]]},
            "DATASETS.TRAIN_REPEAT_FACTOR=",
            "every factor is 0",
        ),
        (
            BY_CATEGORY | {REPEAT: [["a_train", 0]]},
            "DATASETS.TRAIN_REPEAT_FACTOR=",
            "must be > 0",
        ),
        (
            {"dataset.train": FILES},
            "dataset.train is set, but the data sets are detectron2's own (a_train)",
            "dataset=coco_json",
        ),
        ({"dataset.val": VAL_FILES}, "dataset.val is set, but", "dataset=coco_json"),
        (
            COCO | {"dataset.val": replace(VAL_FILES, json="b.json", fraction=0.2)},
            "dataset.val.fraction=0.2 validates on a part of dataset.train, and dataset.val.json=b.json on something",
            "dataset.val.fraction=0",
        ),
        (
            COCO | {"dataset.val": ValRequest(json="a.json", images="b", fraction=0.2)},
            "dataset.val.fraction=0.2 validates on a part of dataset.train, and dataset.val.images=b on something",
            "dataset.val.fraction=0",
        ),
        (
            COCO | {"dataset.train": SplitRequest(), "found": Found(problems=("dataset.root=x: nothing.",))},
            "dataset.root=x: nothing.",
            "x",
        ),
        (
            COCO | {"DATASETS.TRAIN": ["coco_2017_train"]},
            "dataset.train is set, but DATASETS.TRAIN=[coco_2017_train] does not name it",
            "DATASETS.TRAIN=[fruits_train]",
        ),
        ({"MODEL.DEVICE": "cuda:1"}, "MODEL.DEVICE=cuda:1: must be one of cuda, cpu, mps", "device.ids=[1]"),
        ({"MODEL.DEVICE": "gpu"}, "MODEL.DEVICE=gpu: must be one of cuda, cpu, mps", "device=cuda"),
        (
            COCO | {"dataset.val": ValRequest(), "checkpoint.keep_best": "bbox/AP"},
            "checkpoint.keep_best=bbox/AP, but there is nothing to evaluate on",
            "DATASETS.TEST",
        ),
        (
            COCO | {"dataset.val": ValRequest(), "sweep.keep": "best:1"},
            "sweep.keep=best:1, but there is nothing to evaluate on",
            "DATASETS.TEST",
        ),
        (COCO | {"checkpoint.keep_best": "AP"}, "checkpoint.keep_best=AP: no such metric", "keep_best=bbox/AP."),
        (COCO | {"checkpoint.keep_best": "bbox_AP"}, "checkpoint.keep_best=bbox_AP: no such", "keep_best=bbox/AP."),
        (COCO | {"checkpoint.keep_best": "segm/AP"}, "checkpoint.keep_best=segm/AP: no such", "keep_best=bbox/AP."),
        (COCO | {"checkpoint.keep_best": "total_loss"}, "checkpoint.keep_best=total_loss: no such", "bbox/AP"),
        (COCO | EARLY | {"early_stopping.metric": "ap50"}, "early_stopping.metric=ap50: no such", "=bbox/AP50."),
        (
            TWO_TEST_SETS | {"checkpoint.keep_best": "bbox/AP"},
            "checkpoint.keep_best=bbox/AP: of several data sets in DATASETS.TEST each has metrics of its own",
            "keep_best=coco_2017_val/bbox/AP.",
        ),
        (
            MASKS | {"MODEL.META_ARCHITECTURE": "RetinaNet", "checkpoint.keep_best": "segm/AP"},
            "checkpoint.keep_best=segm/AP: no such metric",
            "keep_best=bbox/AP.",
        ),
        ({"own_code.imports": ("a/b.py",)}, "imports names a/b.py, which is no module", "imports=[a.b]"),
        ({"own_code.imports": ("a b",)}, "imports names a b, which is no module", "imports=[package.module]"),
        ({"own_code.imports": ("a", "a")}, "imports names a twice", "once"),
        ({"own_code.trainer": "a.Mine"}, "trainer=a.Mine is no module:class", "trainer=a:Mine."),
        ({"own_code.trainer": "a.py:Mine"}, "trainer=a.py:Mine is no module:class", "trainer=a:Mine."),
        ({"own_code.trainer": "a:"}, "trainer=a: is no module:class", "trainer=a:MyTrainer"),
    ],
)
def test_what_cannot_be_meant_is_named_once_with_what_to_type(changes: dict[str, Any], start: str, answer: str):
    (problem,) = problems_with_request(request_with(**changes))

    assert problem.startswith(start)
    assert answer in problem
    assert problem.endswith(".")


def test_an_experiment_does_not_leave_the_root_of_the_runs():
    request = request_with()

    (problem,) = problems_with_request(replace(request, typed=replace(request.typed, experiment="../x")))

    assert problem.startswith("experiment=../x is not a folder below run.root")


NUMBERS = [name for node, kind in OWN_NODES.items() for name, _, _ in numbers_of(kind(), node)]


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_its_range_is_refused_by_name(name: str, value: float):
    (problem,) = problems_with_request(request_with(**{name: value}))

    assert problem.startswith(f"{name}={value}: must be ")


@pytest.mark.parametrize("name", KEY_RANGES)
def test_the_keys_with_a_range_exist(name: str):
    assert name in Keys(read_keys().defaults)


def test_every_problem_is_named_at_once_in_the_order_of_the_sections():
    wrong = request_with(
        **{
            "SOLVER.MAX_ITER": 0,
            "early_stopping.patience": 0,
            "early_stopping.min_delta": -1.0,
            "ema.decay": 1.0,
            "checkpoint.keep_last": -2,
            "logging.period": 0,
            "run.retries": -1,
            "run.name": "..",
            "dataset.max_bad": -1,
            "device.count": 0,
            "device.max_used": 2.0,
        }
    )

    with pytest.raises(RequestError) as refused:
        refuse_wrong(wrong)

    assert [line.partition("=")[0] for line in str(refused.value).splitlines()] == [
        "device.max_used",
        "device.count",
        "dataset.max_bad",
        "run.retries",
        "run.name",
        "logging.period",
        "checkpoint.keep_last",
        "ema.decay",
        "early_stopping.patience",
        "early_stopping.min_delta",
        "SOLVER.MAX_ITER",
    ]
