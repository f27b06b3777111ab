"""What Hydra composes against what detectron2's own configuration system makes of the same wishes, leaf by leaf."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from launcher.config.arguments import for_hydra, take_apart
from launcher.config.compose import hydra_version_base, to_request
from launcher.config.keys import Keys
from launcher.config.known_keys import Detectron2Keys, read_keys
from launcher.config.presets import configs_folder
from launcher.config.source import serve
from launcher.train.compat.cfg_node import to_cfg_node

KEYS = read_keys()


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def typed_leaves(node: Mapping[str, Any]) -> dict[str, str]:
    # repr tells 1 from 1.0 from True and lists from tuples, also inside one another.
    return {key: repr(value) for key, value in leaves(node)}


@pytest.fixture(scope="module")
def hydra_folder(keys: Detectron2Keys) -> Iterator[None]:
    serve(keys)
    with initialize_config_dir(config_dir=str(configs_folder()), **hydra_version_base()):
        yield


def composed(*arguments: str) -> dict[str, str]:
    cfg = compose("config", overrides=for_hydra(take_apart(arguments)), return_hydra_config=True)
    with open_dict(cfg):
        hydra_cfg = cfg.pop("hydra")
    return typed_leaves(to_cfg_node(to_request(cfg, hydra_cfg, [], KEYS).keys))


def as_yacs_has_it(zoo_name: str | None = None, *key_and_text: str) -> dict[str, str]:
    from detectron2 import model_zoo
    from detectron2.config import get_cfg

    cfg = get_cfg()
    if zoo_name is not None:
        cfg.merge_from_file(os.path.join(os.path.dirname(model_zoo.__file__), "configs", f"{zoo_name}.yaml"))
    cfg.merge_from_list(list(key_and_text))
    return typed_leaves(cfg)


@functools.cache
def defaults() -> dict[str, Any]:
    from detectron2.config import get_cfg

    return dict(leaves(get_cfg()))


def another(value: Any) -> Any:
    """A value of the same type that is not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 2 + 0.5
    if isinstance(value, str):
        return f"{value}_other" if value else "other"
    if isinstance(value, list):
        return [another(inner) for inner in value] + value[-1:] if value else ["other"]
    return 0.25


def in_yacs(value: Any, default: Any) -> str:
    """How a yacs user types a value: Python, with tuples where the default has tuples."""
    return repr(_like(default, value))


def _like(default: Any, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    inner = default[0] if default else None
    return type(default)(_like(inner, one) for one in value)


def test_the_installed_detectron2_has_the_zoo_and_the_keys_we_know_of():
    assert len(KEYS.zoo) >= 92
    assert len(list(leaves(KEYS.defaults))) >= 190


@pytest.mark.usefixtures("hydra_folder")
@pytest.mark.parametrize("zoo_name", sorted(KEYS.zoo))
def test_a_zoo_model_is_what_yacs_makes_of_its_file(zoo_name):
    assert composed(f"model={zoo_name}") == as_yacs_has_it(zoo_name)


@pytest.mark.usefixtures("hydra_folder")
@pytest.mark.parametrize("key", [key for key, _ in leaves(KEYS.defaults)])
def test_a_key_on_the_command_line_is_what_yacs_makes_of_it(key):
    default = defaults()[key]
    value = another(dict(leaves(KEYS.defaults))[key])

    ours = composed(f"{key}={json.dumps(value, separators=(',', ':'))}")

    theirs = as_yacs_has_it(None, key, in_yacs(value, default))
    assert ours == theirs
    assert ours[key] != repr(default)


@pytest.mark.parametrize(
    ("zoo_name", "overrides"),
    [
        ("Cityscapes/mask_rcnn_R_50_FPN", {"SOLVER.BASE_LR": 0.25, "INPUT.MIN_SIZE_TRAIN": [640, 800]}),
        ("Misc/cascade_mask_rcnn_R_50_FPN_1x", {"MODEL.WEIGHTS": "", "MODEL.ROI_HEADS.NUM_CLASSES": 3}),
    ],
)
def test_the_command_prints_what_yacs_makes_of_the_same(zoo_name, overrides):
    words = [f"{key}={json.dumps(value)}".replace(" ", "") for key, value in overrides.items()]
    command = [sys.executable, "-m", "launcher", "train", f"model={zoo_name}", *words, "--cfg", "job"]

    printed = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    plain = {key: value for key, value in printed.items() if key.isupper()}
    pairs = [part for key, value in overrides.items() for part in (key, repr(value))]
    assert typed_leaves(to_cfg_node(Keys(plain))) == as_yacs_has_it(zoo_name, *pairs)
