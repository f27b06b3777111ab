"""What may be set and of what type: the launcher's nodes and detectron2's keys, as Hydra's schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from keyword import iskeyword
from typing import Any

from omegaconf import (
    AnyNode,
    BooleanNode,
    DictConfig,
    EnumNode,
    FloatNode,
    IntegerNode,
    ListConfig,
    OmegaConf,
    StringNode,
)

from launcher.config.keys import Keys, flat
from launcher.config.known_keys import Detectron2Keys
from launcher.config.request import (
    CheckpointSettings,
    ClusterSettings,
    DatasetRequest,
    DeviceRequest,
    EarlyStoppingSettings,
    EmaSettings,
    EvaluationSettings,
    LoggingSettings,
    PoolSettings,
    RunSettings,
    Scaling,
    SearchSettings,
    SweepSettings,
)

OWN_NODES = {
    "device": DeviceRequest,
    "dataset": DatasetRequest,
    "run": RunSettings,
    "logging": LoggingSettings,
    "checkpoint": CheckpointSettings,
    "ema": EmaSettings,
    "early_stopping": EarlyStoppingSettings,
    "evaluation": EvaluationSettings,
    "cluster": ClusterSettings,
    "pool": PoolSettings,
    "sweep": SweepSettings,
    "search": SearchSettings,
}
"""The launcher's own nodes."""
OWN_ROOT_SETTINGS = ("resume", "scaling", "config_extensions", "imports", "trainer")
"""The launcher's settings beside those nodes."""


def make_schema(keys: Detectron2Keys) -> DictConfig:
    """The root of the composed configuration with every default."""
    root = DictConfig({}, flags=dict(_NO_COPIES))
    for name, kind in OWN_NODES.items():
        root[name] = _as_typed(_writable(OmegaConf.structured(kind)))
    root["resume"] = StringNode("auto", is_optional=False)
    root["scaling"] = EnumNode(Scaling, Scaling.keep_batch, is_optional=False)
    root["config_extensions"] = _names()
    root["imports"] = _names()
    root["trainer"] = StringNode("", is_optional=False)
    for name, value in keys.defaults.items():
        root[name] = _typed(value, name, keys.open_nodes)
    return root


def _names() -> ListConfig:
    return ListConfig([], element_type=str, ref_type=list[str], is_optional=False)


def setting_names(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted name of every leaf of a schema; a node that takes any key is one, as it stands there empty."""
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and child:
            yield from setting_names(child, f"{prefix}{key}.")
        else:
            yield prefix + key


def number_lists(defaults: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Dotted names and defaults of the lists that hold numbers alone, also one inside another."""
    for name, value in Keys(defaults).leaves():
        if isinstance(value, list) and {type(one) for one in flat(value)} in ({int}, {float}, {int, float}):
            yield name, value


def name_lists(defaults: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Dotted names and defaults of the lists that hold text alone; an example where the default is an empty list."""
    for name, default in Keys(defaults).leaves():
        value = default or _EXAMPLES.get(name)
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            yield name, value


_EXAMPLES = {
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "DATASETS.PROPOSAL_FILES_TRAIN": ["FILE"],
    "DATASETS.PROPOSAL_FILES_TEST": ["FILE"],
}


def text_settings(keys: Detectron2Keys) -> frozenset[str]:
    """The dotted names of the settings whose default is text."""
    own = {name: asdict(kind()) for name, kind in OWN_NODES.items()}
    leaves = Keys({**own, **keys.defaults}).leaves()
    return frozenset(["resume", "trainer", *(name for name, default in leaves if isinstance(default, str))])


def _writable(node: DictConfig) -> DictConfig:
    # Our dataclasses are frozen, which OmegaConf takes to mean that nobody may override them; a nested one has its own
    # flag.
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _writable(child)
            child._set_flag("struct", False if OmegaConf.get_type(child) is dict else None)
    return node


def _as_typed(node: DictConfig) -> DictConfig:
    """The node with `async_`, which Python forbids to call `async`, under the name that people type."""
    names = {str(key): str(key).rstrip("_") for key in node}
    if all(name == typed for name, typed in names.items()):
        return node
    renamed = _empty_node()
    for name, typed in names.items():
        renamed[typed] = node._get_node(name)
    renamed._set_flag("struct", True)
    return renamed


def own_value(name: str, node: DictConfig) -> Any:
    """The dataclass that a composed node of `OWN_NODES` stands for."""
    value: Any = OmegaConf.to_object(node)
    if not isinstance(value, dict):
        return value
    return OWN_NODES[name](**{f"{key}_" if iskeyword(key) else key: inner for key, inner in value.items()})


def _typed(value: Any, name: str, open_nodes: frozenset[str]) -> Any:
    """A node that takes values of the type that `value` has."""
    # Built from OmegaConf's nodes and not from generated dataclasses, which take ten times as long to make.
    if isinstance(value, Mapping):
        node = _empty_node()
        for key, inner in value.items():
            node[key] = _typed(inner, f"{name}.{key}", open_nodes)
        node._set_flag("struct", name not in open_nodes)
        return node
    if isinstance(value, list):
        return _list_node(value)
    for kind, make in _LEAVES.items():
        if type(value) is kind:
            return make(value, is_optional=False)
    return AnyNode(value)


def _empty_node() -> DictConfig:
    return DictConfig({}, ref_type=dict[str, Any], is_optional=False, flags=dict(_NO_COPIES))


def _list_node(values: list[Any]) -> ListConfig:
    inner = [_list_node(value) if isinstance(value, list) else AnyNode(value) for value in values]
    return ListConfig(inner, ref_type=list[Any], is_optional=False, flags=dict(_NO_COPIES))


# Keeps OmegaConf from copying each node whole into the one above it, which is most of the time that making this takes.
_NO_COPIES = {"no_deepcopy_set_nodes": True}


_LEAVES: dict[type, Any] = {bool: BooleanNode, int: IntegerNode, float: FloatNode, str: StringNode}
