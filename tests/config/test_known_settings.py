"""What is said of every setting, for the installed detectron2."""

from __future__ import annotations

import pytest

from launcher.config.keys import Keys
from launcher.config.known_keys import NO_KEYS, Detectron2Keys, read_keys
from launcher.config.known_settings import (
    KnownSetting,
    find_settings,
    known_settings,
    models_that_read,
    nearest_settings,
)
from launcher.config.own_settings import ROOT_DEFAULTS, own_nodes, own_settings
from launcher.config.schema import OWN_NODES, make_schema, setting_names


@pytest.fixture(scope="module")
def known() -> Detectron2Keys:
    return read_keys()


@pytest.fixture(scope="module")
def settings(known: Detectron2Keys) -> tuple[KnownSetting, ...]:
    return known_settings(known)


def test_everything_that_can_be_set_is_known_and_means_something(
    known: Detectron2Keys, settings: tuple[KnownSetting, ...]
):
    assert {one.name for one in settings} == set(setting_names(make_schema(known)))
    assert [one.name for one in settings if not one.meaning] == []


def test_the_launchers_own_are_those_of_the_schema():
    schema = make_schema(NO_KEYS)

    assert own_nodes() == OWN_NODES
    assert {name: schema[name] for name in ROOT_DEFAULTS} == ROOT_DEFAULTS
    assert {one.name for one in own_settings()} == set(setting_names(schema))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("SOLVER.LR_SCHEDULER_NAME", {"WarmupMultiStepLR", "WarmupCosineLR"}),
        ("MODEL.FPN.NORM", {'""', "BN", "SyncBN"}),
        ("INPUT.MASK_FORMAT", {"polygon", "bitmask"}),
        ("DATALOADER.SAMPLER_TRAIN", {"TrainingSampler", "RepeatFactorTrainingSampler"}),
        ("SOLVER.AMP.ENABLED", {"True", "False"}),
        ("device.choice", {"auto", "cuda", "cpu"}),
        ("checkpoint.async", {"true", "false"}),
        ("SOLVER.BASE_LR", set()),
    ],
)
def test_a_setting_knows_the_names_that_it_takes(name: str, values: set[str], settings: tuple[KnownSetting, ...]):
    (setting,) = find_settings(name, settings)

    assert values <= set(setting.values)
    assert bool(values) == bool(setting.values)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("SOLVER.BASE_LR", ["SOLVER.BASE_LR"]),
        ("solver.base_lr=0.1", ["SOLVER.BASE_LR"]),
        ("BASE_LR", ["SOLVER.BASE_LR"]),
        ("early_stopping.", [f"early_stopping.{name}" for name in ("metric", "patience", "min_delta", "mode")]),
        ("resume", ["resume"]),
        ("nonsense", []),
        ("", []),
    ],
)
def test_a_name_its_end_or_a_node_is_enough(asked: str, names: list[str], settings: tuple[KnownSetting, ...]):
    assert [one.name for one in find_settings(asked, settings)] == names


def test_a_mistyped_name_has_its_neighbours(settings: tuple[KnownSetting, ...]):
    assert nearest_settings("SOLVER.LR_SCHEDULR", settings)[0] == "SOLVER.LR_SCHEDULER_NAME"
    assert nearest_settings("MODEL.BASE_LR", settings) == ("SOLVER.BASE_LR",)


def test_a_key_of_one_kind_of_model_says_what_it_needs_and_who_reads_it(
    known: Detectron2Keys, settings: tuple[KnownSetting, ...]
):
    (of_retinanet,) = find_settings("MODEL.RETINANET.NUM_CLASSES", settings)

    readers = models_that_read(of_retinanet.name, known)

    assert of_retinanet.needs == ("a RetinaNet (model=...)",)
    assert "COCO-Detection/retinanet_R_50_FPN_1x" in readers
    assert not [name for name in readers if "rcnn" in name]
    assert set(models_that_read("SOLVER.BASE_LR", known)) == set(known.zoo)


def test_a_switch_does_not_need_itself(settings: tuple[KnownSetting, ...]):
    (enabled,) = find_settings("TEST.AUG.ENABLED", settings)
    (flip,) = find_settings("TEST.AUG.FLIP", settings)

    assert enabled.needs == ()
    assert flip.needs == ("TEST.AUG.ENABLED=True",)


def test_a_range_is_said_with_what_its_special_value_means(settings: tuple[KnownSetting, ...]):
    assert find_settings("VIS_PERIOD", settings)[0].allowed == ">= 0 (0 draws nothing)"
    assert find_settings("run.retries", settings)[0].allowed == ">= 0 (0 never retries)"


def test_without_detectron2_the_launchers_own_are_known():
    assert {one.name for one in known_settings(NO_KEYS)} == {one.name for one in own_settings()}
    assert list(Keys(NO_KEYS.defaults).leaves()) == []
