from __future__ import annotations

import pytest
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launcher.config.known_keys import NO_KEYS, Detectron2Keys
from launcher.config.request import BestMode, CheckpointSettings
from launcher.config.schema import make_schema, own_value, setting_names, text_settings


@pytest.fixture
def schema() -> DictConfig:
    return make_schema(NO_KEYS)


def test_a_setting_named_like_a_python_keyword_is_typed_by_its_plain_name(schema: DictConfig):
    assert "checkpoint.async" in setting_names(schema)

    changed = OmegaConf.merge(schema, {"checkpoint": {"async": True, "best_mode": "min"}})

    assert own_value("checkpoint", changed.checkpoint) == CheckpointSettings(async_=True, best_mode=BestMode.min)


@pytest.mark.parametrize("wrong", [{"async": "perhaps"}, {"async_": True}, {"nothing_such": 1}, {"keep_last": None}])
def test_what_a_renamed_node_does_not_hold_is_refused(schema: DictConfig, wrong: dict):
    with pytest.raises(OmegaConfBaseException):
        OmegaConf.merge(schema, {"checkpoint": wrong})


def test_the_settings_of_text_are_those_that_the_schema_has_text_for(keys: Detectron2Keys):
    schema = make_schema(keys)

    assert text_settings(keys) == {
        name for name in setting_names(schema) if type(OmegaConf.select(schema, name)) is str
    }
