"""detectron2's keys as plain data, back to the CfgNode that detectron2 works with."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from launcher.config.keys import Keys
from launcher.errors import RequestError

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def to_cfg_node(keys: Keys, extensions: Sequence[str] = ()) -> CfgNode:
    """detectron2's defaults and those of the extensions, with `keys` put in; not frozen.

    Raises:
        RequestError: a key that neither detectron2 nor an extension knows, or an extension that cannot be loaded.
    """
    cfg = default_cfg_node(extensions)
    unknown = list(_put_into(cfg, keys.nested(), ""))
    if unknown:
        raise RequestError(
            f"The configuration has {', '.join(unknown)}, which the installed detectron2 does not know. "
            "If another project defines it, name its function: config_extensions=[module:function]."
        )
    return cfg


def default_cfg_node(extensions: Sequence[str]) -> CfgNode:
    """What `get_cfg()` gives after each extension has added its keys."""
    from detectron2.config import get_cfg

    cfg = get_cfg()
    for extension in extensions:
        load_extension(extension)(cfg)
    return cfg


def load_extension(name: str) -> Callable[[CfgNode], Any]:
    """The function behind `module:function`.

    Raises:
        RequestError: there is none.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise RequestError(
            f"config_extensions has {name!r}; write it as module:function, like my_project.config:add_keys."
        )
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise RequestError(
            f"config_extensions has {name}, but module {module_name} cannot be imported ({error}). "
            "Install the project, or put its folder on PYTHONPATH."
        ) from error
    for part in function_name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise RequestError(f"config_extensions has {name}, but module {module_name} has no function {function_name}.")
    return found


def with_containers_of(default: Any, value: Any) -> Any:
    """`value` with lists and tuples as in `default`, also inside one another.

    A sequence longer than its default takes the last inner default for the rest.
    """
    if not isinstance(value, list | tuple):
        return value
    if not isinstance(default, list | tuple):
        return list(value)
    container = type(default)
    if not default:
        return container(value)
    return container(with_containers_of(default[min(i, len(default) - 1)], inner) for i, inner in enumerate(value))


def _put_into(node: CfgNode, keys: Mapping[str, Any], prefix: str) -> list[str]:
    # Assigned one by one and not by yacs' merge: that evaluates every string as a Python literal first, so a
    # MODEL.WEIGHTS that looks like a number would arrive as a number.
    unknown = []
    for key, value in keys.items():
        if key not in node and not node.is_new_allowed():
            unknown.append(prefix + key)
        elif isinstance(value, Mapping) and isinstance(node.get(key), dict):
            unknown += _put_into(node[key], value, f"{prefix}{key}.")
        elif isinstance(value, Mapping):
            node[key] = type(node)(dict(value))
        else:
            node[key] = with_containers_of(node.get(key), value)
    return unknown
