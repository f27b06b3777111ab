from __future__ import annotations

import pytest

from launcher.config.keys import Keys
from launcher.errors import RequestError
from launcher.train.compat.cfg_node import load_extension, to_cfg_node, with_containers_of


@pytest.mark.parametrize(
    ("default", "value", "restored"),
    [
        ((800,), [640, 800], (640, 800)),
        ([1.0], [2.0], [2.0]),
        (((1.0, 2.0), (3.0, 4.0)), [[5, 6], [7, 8], [9, 10]], ((5, 6), (7, 8), (9, 10))),
        ([[32, 64]], [[1], [2]], [[1], [2]]),
        ((), ["a"], ("a",)),
        (None, [1], [1]),
        (0.1, 3, 3),
        ((1,), "text", "text"),
    ],
)
def test_containers_come_back_as_the_default_has_them(default, value, restored):
    assert with_containers_of(default, value) == restored
    assert type(with_containers_of(default, value)) is type(restored)


def test_keys_are_put_into_a_config_that_is_not_frozen():
    cfg = to_cfg_node(Keys({"SOLVER": {"BASE_LR": 0.5}, "DATASETS": {"TRAIN": ["a", "b"]}}))

    assert not cfg.is_frozen()
    assert cfg.SOLVER.BASE_LR == 0.5
    assert cfg.SOLVER.MAX_ITER == 40000
    assert cfg.DATASETS.TRAIN == ("a", "b")


@pytest.mark.parametrize("text", ["123", "[1, 2]", "None"])
def test_a_text_that_looks_like_a_python_value_stays_a_text(text):
    weights = to_cfg_node(Keys({"MODEL": {"WEIGHTS": text}})).MODEL.WEIGHTS

    assert weights == text


def test_every_unknown_key_is_named_with_the_way_to_bring_it_in():
    with pytest.raises(RequestError, match=r"SOLVER\.NEW, OTHER.*config_extensions"):
        to_cfg_node(Keys({"SOLVER": {"NEW": 1}, "OTHER": {"A": 1}}))


def test_an_extension_brings_its_keys():
    extension = "detectron2.projects.point_rend:add_pointrend_config"

    cfg = to_cfg_node(Keys({"MODEL": {"POINT_HEAD": {"NUM_FC": 7}}}), [extension])

    assert cfg.MODEL.POINT_HEAD.NUM_FC == 7


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_colon", "write it as module:function"),
        ("absent_module:f", "cannot be imported"),
        ("json:absent", "has no function absent"),
        ("json:__name__", "has no function"),
    ],
)
def test_an_extension_that_cannot_be_loaded_is_refused(name, reason):
    with pytest.raises(RequestError, match=reason):
        load_extension(name)
