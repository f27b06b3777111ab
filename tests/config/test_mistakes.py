from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.config.arguments import Arguments, take_apart
from launcher.config.mistakes import (
    Settable,
    command_line,
    corrected_arguments,
    describe,
    mistakes_in,
    mistakes_in_files,
    nearest_names,
)
from launcher.config.presets import option_name
from launcher.config.schema import make_schema
from launcher.config.yaml_files import FileRead

NAMES = ["SOLVER.BASE_LR", "SOLVER.BASE_LR_END", "MODEL.RPN.NMS_THRESH", "device.count", "experiment"]


@pytest.fixture(scope="module")
def settable(keys) -> Settable:
    groups = {
        "model": [option_name(name) for name in keys.zoo],
        "experiment": ["coco", "coco_quick", "demo"],
        "device": ["auto", "cpu", "cuda", "mps"],
        "dataset": ["demo"],
    }
    return Settable(schema=make_schema(keys), groups=groups)


def described(arguments: Arguments, settable: Settable) -> str:
    mistakes = mistakes_in(arguments, settable)
    corrected = corrected_arguments(mistakes, arguments)
    return "\n".join([describe(mistakes), *(command_line("launcher train", corrected) if corrected else [])])


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("SOLVER.BASE_LRR", "SOLVER.BASE_LR"),
        ("solver.base_lr", "SOLVER.BASE_LR"),
        ("BASE_LR", "SOLVER.BASE_LR"),
        ("NMS_THRESH", "MODEL.RPN.NMS_THRESH"),
        ("devcie.count", "device.count"),
        ("experimnt", "experiment"),
        ("exp", "experiment"),
    ],
)
def test_the_nearest_name_is_the_one_that_was_meant(typed, first):
    assert nearest_names(typed, NAMES)[0] == first


def test_nothing_is_near_to_what_is_nothing_like_it():
    assert nearest_names("XYZZY.QUUX", NAMES) == []


@pytest.mark.parametrize(
    ("typed", "reason", "corrected"),
    [
        ("SOLVER.BASE_LRR=0.1", "detectron2 has no key SOLVER.BASE_LRR; nearest: SOLVER.BASE_LR", "SOLVER.BASE_LR=0.1"),
        ("BASE_LR=0.1", "nearest: SOLVER.BASE_LR", "SOLVER.BASE_LR=0.1"),
        ("devcie.count=2", "there is no setting devcie.count", "device.count=2"),
        ("SOLVER.MAX_ITER=1.5", "SOLVER.MAX_ITER takes a whole number, not 1.5", None),
        ("SOLVER.MAX_ITER=1e5", "takes a whole number", "SOLVER.MAX_ITER=100000"),
        ("SOLVER.BASE_LR=fast", "takes a number, not 'fast'", None),
        ("SOLVER.BASE_LR=null", "takes a number, not null", None),
        ("MODEL.MASK_ON=perhaps", "takes true or false", None),
        ("device.choice=gpu", "one of auto, cuda, cpu, mps", "device.choice=cuda"),
        ("device=gpu", "there is no device gpu", "device=cuda"),
        ("device=quantum", "there are auto, cpu, cuda, mps", None),
        ("experiment=coc", "there is no experiment coc; nearest: coco", "experiment=coco"),
        ("experimnt=demo", "there is no setting experimnt", "experiment=demo"),
        ("experimnt=coc", "there is no setting experimnt", "experiment=coco"),
        ("experimnt=xyzzy", "there is no setting experimnt", None),
        (
            "model=COCO-Detection/retinanet_R_50_FPN_4x.yaml",
            "there is no model COCO-Detection/retinanet_R_50_FPN_4x",
            "model=COCO-Detection/retinanet_R_50_FPN_3x",
        ),
        (
            "model=retinanet_R_50_FPN_3x",
            "nearest: COCO-Detection/retinanet_R_50_FPN_3x",
            "model=COCO-Detection/retinanet_R_50_FPN_3x",
        ),
        ("SOLVER.BASE_LR=0,001", "decimal point", "SOLVER.BASE_LR=0.001"),
        ("SOLVER.STEPS=0,1", "lists are written in brackets", "SOLVER.STEPS=[0,1]"),
        ("INPUT.MIN_SIZE_TRAIN=(640,800)", "no tuples", "INPUT.MIN_SIZE_TRAIN=[640,800]"),
        ("INPUT.MIN_SIZE_TRAIN=(640,)", "no tuples", "INPUT.MIN_SIZE_TRAIN=[640]"),
        ('INPUT.MIN_SIZE_TRAIN="(640,800)"', "no tuples", "INPUT.MIN_SIZE_TRAIN=[640,800]"),
        ("dataset.train.json=a,b.json", "a comma in a path", 'dataset.train.json="a,b.json"'),
        (
            "model=../configs/COCO-Detection/retinanet_R_50_FPN_3x.yaml",
            "nearest: COCO-Detection/retinanet_R_50_FPN_3x",
            "model=COCO-Detection/retinanet_R_50_FPN_3x",
        ),
        ("INPUT.MIN_SIZE_TRAIN=640", "takes a list", "INPUT.MIN_SIZE_TRAIN=[640]"),
        ("INPUT.MIN_SIZE_TRAIN=640,800", "brackets", "INPUT.MIN_SIZE_TRAIN=[640,800]"),
        ("MODEL.WEIGHTS=a=b", "quotes inside quotes", 'MODEL.WEIGHTS="a=b"'),
        ("SOLVER=3", "a group of settings, such as SOLVER.", None),
        ("train", "KEY=VALUE", None),
        ("+FOO.BAR=1", "config_extensions", None),
        ("+SOLVER.BASE_LR=1", "takes no plus", "SOLVER.BASE_LR=1"),
        ("~SOLVER.BASE_LR", "cannot be removed", None),
        ("lr=0.1", "nearest: SOLVER.BASE_LR", "SOLVER.BASE_LR=0.1"),
        ("learning_rate=0.1", "nearest: SOLVER.BASE_LR", "SOLVER.BASE_LR=0.1"),
        ("batch_size=2", "nearest: SOLVER.IMS_PER_BATCH", "SOLVER.IMS_PER_BATCH=2"),
        ("epochs=12", "nearest: SOLVER.MAX_ITER, in iterations: epochs x training images", None),
        ("SOLVER.EPOCHS=12", "nearest: SOLVER.MAX_ITER, in iterations: epochs x training images", None),
        ("model=mask_rcnn", "nearest: COCO-InstanceSegmentation/mask_rcnn_R_101_C4_3x", None),
        ("model=demo", "there is experiment=demo; there is dataset=demo; there are ", None),
        ("model=null", "~model", "~model"),
        ("experiment=null", "~experiment", "~experiment"),
        ("model@foo=Base-RCNN-C4", "no package", "model=Base-RCNN-C4"),
        ("model@foo=X", "no package", None),
    ],
)
def test_a_mistake_gets_its_reason_and_where_it_can_be_guessed_its_correction(settable, typed, reason, corrected):
    (mistake,) = mistakes_in(take_apart([typed]), settable)

    assert reason in mistake.reason
    assert mistake.corrected == ((corrected,) if corrected else ())


@pytest.mark.parametrize(
    "typed",
    [
        "SOLVER.BASE_LR=1",
        "SOLVER.STEPS=[]",
        "SOLVER.WEIGHT_DECAY_BIAS=null",
        "device=cpu",
        "device.count=all",
        "model=COCO-Detection/retinanet_R_50_FPN_3x",
        "+experiment=demo",
        "++SOLVER.BASE_LR=1",
        "~experiment",
        "hydra.verbose=true",
        "hydra/launcher=basic",
        "MODEL.WEIGHTS=",
        "dataset.root=${oc.env:HOME}",
    ],
)
def test_what_is_right_is_no_mistake(settable, typed):
    assert mistakes_in(take_apart([typed]), settable) == []


@pytest.mark.parametrize(
    ("typed", "corrected"),
    [
        ("SOLVER.BASE_LR 0.1 SOLVER.MAX_ITER 5", "SOLVER.BASE_LR=0.1 SOLVER.MAX_ITER=5"),
        ("device=cpu MODEL.WEIGHTS a.pth run.name=x", "device=cpu MODEL.WEIGHTS=a.pth run.name=x"),
        ("SOLVER.BASE_LRR 0.1", "SOLVER.BASE_LR=0.1"),
        ("lr 0.1", "SOLVER.BASE_LR=0.1"),
    ],
)
def test_key_and_value_as_two_words_are_put_together(settable, typed, corrected):
    arguments = take_apart(typed.split())

    text = described(arguments, settable)

    assert "KEY=VALUE" in text
    assert text.endswith(f"\n  launcher train {corrected}")


def test_a_word_that_is_no_setting_is_not_put_together_with_the_next(settable):
    mistakes = mistakes_in(take_apart(["train", "SOLVER.BASE_LR"]), settable)

    assert [mistake.typed for mistake in mistakes] == ["train", "SOLVER.BASE_LR"]


def test_every_value_of_a_sweep_is_looked_at(settable):
    right = take_apart(["-m", "SOLVER.BASE_LR=0.1,0.2", "model=COCO-Detection/rpn_R_50_FPN_1x,Base-RCNN-C4"])
    wrong = take_apart(["-m", "SOLVER.MAX_ITER=range(1,3)", "SOLVER.BASE_LR=0.1,fast"])

    assert mistakes_in(right, settable) == []
    assert [mistake.typed for mistake in mistakes_in(wrong, settable)] == ["SOLVER.BASE_LR=0.1,fast"]


def test_a_sweep_needs_its_flag(settable):
    arguments = take_apart(["SOLVER.BASE_LR=0.1,0.2"])

    text = described(arguments, settable)

    assert text.endswith("launcher train -m SOLVER.BASE_LR=0.1,0.2")


def test_all_mistakes_are_told_at_once_with_one_corrected_command_line(settable):
    arguments = take_apart(["experiment=coc", "run.name=mine", "SOLVER.MAX_ITR=3", "--cfg", "job"])

    lines = described(arguments, settable).splitlines()

    assert lines[0].startswith("experiment=coc: ")
    assert lines[1].startswith("SOLVER.MAX_ITR=3: ")
    assert lines[-1] == "  launcher train experiment=coco run.name=mine SOLVER.MAX_ITER=3 --cfg job"


def test_without_a_guess_for_each_mistake_no_command_line_is_made_up(settable):
    arguments = take_apart(["experiment=coc", "SOLVER.MAX_ITER=often"])

    assert "Type:" not in described(arguments, settable)


def test_a_correction_that_changes_nothing_is_none(settable):
    arguments = take_apart(["experiment=coc"])
    (mistake,) = mistakes_in(arguments, settable)

    assert corrected_arguments([replace(mistake, corrected=("experiment=coc",))], arguments) is None


def test_every_mistake_of_a_file_is_answered_as_on_the_command_line(settable):
    settings = (
        ("SOLVER.BASE_LRR", 0.1),
        ("SOLVER.MAX_ITER", "often"),
        ("SOLVER.GAMMA", "${SOLVER.BASE_LR}"),
        ("SEED", 3),
        ("hydra.verbose", True),
        ("MODEL.OTHER.KEY", 1),
    )

    lines = mistakes_in_files([FileRead(path="mine.yaml", settings=settings)], settable)

    assert lines[0].startswith("In mine.yaml: detectron2 has no key SOLVER.BASE_LRR; nearest: SOLVER.BASE_LR")
    assert lines[1] == "In mine.yaml: SOLVER.MAX_ITER takes a whole number, not 'often'."
    assert "config_extensions=[module:function]" in lines[2]
    assert len(lines) == 3
