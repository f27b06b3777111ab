"""What is wrong with a command line that Hydra refuses: every mistake at once, with the nearest names and a correction.

Only looks; runs when composing has failed, or when something was typed that Hydra would take without asking.
"""

from __future__ import annotations

import copy
import difflib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, EnumNode, IntegerNode, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launcher.config.arguments import Arguments, override_for_hydra, spelled
from launcher.config.schema import setting_names
from launcher.config.source import MODEL_GROUP

MAX_SWEPT_VALUES = 100
_LISTED_SWEEPS = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP, ValueType.RANGE_SWEEP)

MAX_NAMES_LISTED = 12
LIKELY = 0.8
SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps"}
LIST_HINT = "lists are written in brackets without spaces, KEY=[1,2]"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Something that cannot be meant."""

    typed: str
    """The word of the command line."""
    reason: str
    corrected: tuple[str, ...] = ()
    """The words to type instead, where that can be guessed."""


@dataclass(frozen=True, kw_only=True)
class Settable:
    """Everything that may be set or chosen."""

    schema: DictConfig
    groups: Mapping[str, Sequence[str]]
    """The options of each group, as Hydra knows them."""

    @property
    def names(self) -> list[str]:
        return [*setting_names(self.schema), *self.groups]


def mistakes_in(arguments: Arguments, settable: Settable) -> list[Mistake]:
    """Every override that cannot be meant."""
    found = (_mistake_in(text, settable, arguments.is_multirun) for text in arguments.overrides)
    return [_with_right_correction(mistake, settable) for mistake in found if mistake is not None]


def describe(mistakes: Sequence[Mistake], arguments: Arguments, command: str) -> str:
    """One line for each mistake, and the command line without them."""
    lines = [f"{mistake.typed}: {mistake.reason}." for mistake in mistakes]
    corrected = {mistake.typed: mistake.corrected for mistake in mistakes}
    if all(corrected.values()):
        words = [word for text in arguments.overrides for word in corrected.get(text, (text,))]
        lines += ["Type:", f"  {command} {shlex.join([*words, *arguments.flags])}"]
    return "\n".join(lines)


def describe_failure(error: BaseException, settable: Settable) -> str:
    """In one paragraph what Hydra or OmegaConf say, for what stands in files rather than on the command line."""
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    text = "\n".join(str(part) for part in _chain(error))
    prefix = _file_prefix(text)
    key = next(iter(re.findall(r"full_key: (\S+)", text)), "")
    if key and re.search(r"is not in struct|not in '\w+'", text):
        return f"{prefix}there is no setting {key}{_nearest_clause(nearest_names(key, settable.names))}."
    lines = (line for part in _chain(error) for line in str(part).splitlines())
    noise = ("full_key:", "object_type=", "reference_type=", "Search path:", "Config search path:", "provider=")
    kept = [line.strip() for line in dict.fromkeys(lines) if line.strip() and not line.lstrip().startswith(noise)]
    kept = [line for line in kept if "raised while composing" not in line]
    if key and not any(key in line for line in kept):
        prefix += f"{key}: "
    return prefix + " ".join(kept)


def nearest_names(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """Which of `names` could have been meant: the same in other letters, the same at its end, or nearly the same."""
    by_folded: dict[str, list[str]] = {}
    for candidate in names:
        by_folded.setdefault(candidate.casefold(), []).append(candidate)
    folded = name.casefold()
    exact = by_folded.get(folded, [])
    ending = [known for key, same in by_folded.items() if key.endswith((f".{folded}", f"/{folded}")) for known in same]
    close = difflib.get_close_matches(folded, by_folded, n=limit, cutoff=0.7)
    last_parts: dict[str, list[str]] = {}
    for key, same in by_folded.items():
        last_parts.setdefault(key.rpartition(".")[2], []).extend(same)
    close_ends = difflib.get_close_matches(folded.rpartition(".")[2], last_parts, n=limit, cutoff=0.75)
    starting = sorted(known for key, same in by_folded.items() if key.startswith(folded) for known in same)
    candidates = [
        *exact,
        *ending,
        *(starting if len(folded) > 2 else ()),
        *(known for key in close for known in by_folded[key]),
        *(known for key in close_ends for known in last_parts[key] if len(last_parts[key]) <= limit),
    ]
    return list(dict.fromkeys(candidates))[:limit]


def _with_right_correction(mistake: Mistake, settable: Settable) -> Mistake:
    """A correction may hide a second mistake: then its correction is the one to show, if there is one."""
    if len(mistake.corrected) != 1:
        return mistake
    second = _mistake_in(mistake.corrected[0], settable, is_multirun=True)
    return mistake if second is None else replace(mistake, corrected=second.corrected)


def _mistake_in(text: str, settable: Settable, is_multirun: bool) -> Mistake | None:
    try:
        (override,) = OverridesParser.create().parse_overrides([override_for_hydra(text)])
        # The quoting of a value can be wrong in itself, which shows when it is asked for.
        values = list(_values_of(override))
    except HydraException as error:
        return _grammar_mistake(text, error, settable)
    key = override.key_or_group
    if key.split(".")[0].split("/")[0] == "hydra":
        return None
    if override.is_sweep_override() and not is_multirun:
        return _sweep_without_multirun(text, override, settable)
    if key in settable.groups and not any(isinstance(value, dict) for value in values):
        return next(filter(None, (_wrong_option(text, key, value, settable) for value in values)), None)
    if not _exists(key, settable.schema):
        return _unknown_key(text, key, settable, added=override.is_add() or override.is_force_add())
    if override.is_delete():
        return Mistake(typed=text, reason=f"{key} always has a value and cannot be taken away")
    if override.is_add():
        return Mistake(typed=text, reason="an existing setting takes no plus", corrected=(text.lstrip("+"),))
    wrong = next(filter(None, (_wrong_value(text, key, value, settable.schema) for value in values)), None)
    # One value of several is corrected, the others would get lost.
    return replace(wrong, corrected=()) if wrong is not None and len(values) > 1 else wrong


def _values_of(override: Override) -> Iterator[Any]:
    if not override.is_sweep_override():
        yield override.value()
    elif override.value_type in _LISTED_SWEEPS:
        parse = OverridesParser.create().parse_overrides
        listed = islice(override.sweep_string_iterator(), MAX_SWEPT_VALUES)
        yield from (parse([f"{override.key_or_group}={value}"])[0].value() for value in listed)


def _grammar_mistake(text: str, error: HydraException, settable: Settable) -> Mistake:
    key, equals, value = text.partition("=")
    if not equals:
        name = key.lstrip("+~")
        near = nearest_names(name, settable.names)
        reason = f"not understood; settings are written KEY=VALUE{_nearest_clause(near)}"
        return Mistake(typed=text, reason=reason)
    if match := re.fullmatch(r"\s*\((.*)\)\s*", value):
        inner = ",".join(part.strip() for part in match[1].split(",") if part.strip())
        inner = inner.replace("(", "[").replace(")", "]")
        return Mistake(typed=text, reason=f"Hydra knows no tuples; {LIST_HINT}", corrected=(f"{key}=[{inner}]",))
    if not _exists(key.lstrip("+~"), settable.schema) and key.lstrip("+~") not in settable.groups:
        return _unknown_key(text, key.lstrip("+~"), settable, added=key.startswith("+"))
    if value.strip().startswith("[") and " " in value:
        return Mistake(typed=text, reason=LIST_HINT, corrected=(f"{key}={value.replace(' ', '')}",))
    if "'" not in value and '"' not in value and not value.strip().startswith(("[", "{")):
        reason = "a value with special characters needs quotes inside quotes"
        return Mistake(typed=text, reason=reason, corrected=(f'{key}="{value}"',))
    first = str(error).strip().splitlines()[0] if str(error).strip() else "not understood"
    return Mistake(typed=text, reason=f"not understood ({first}); {LIST_HINT}")


def _sweep_without_multirun(text: str, override: Override, settable: Settable) -> Mistake:
    key, _, value = text.partition("=")
    if not isinstance(_node(override.key_or_group, settable.schema), ListConfig):
        return Mistake(typed=text, reason="several values are a sweep, which needs -m", corrected=("-m", text))
    reason = f"{LIST_HINT}; for one training per value add -m"
    return Mistake(typed=text, reason=reason, corrected=(f"{key}=[{value}]",))


def _wrong_option(text: str, group: str, value: Any, settable: Settable) -> Mistake | None:
    options = settable.groups[group]
    chosen = value if isinstance(value, list) else [value]
    unknown = [str(name) for name in chosen if name is not None and str(name) not in options]
    if not unknown:
        return None
    shown = list(spelled(options)) if group == MODEL_GROUP else list(options)
    (wrong,) = spelled(unknown[:1]) if group == MODEL_GROUP else unknown[:1]
    near = nearest_names(SYNONYMS.get(wrong, wrong), shown)
    typed_value = text.partition("=")[2]
    corrected = (text.replace(_as_typed(wrong, typed_value), near[0]),) if near else ()
    listed = _nearest_clause(near) if near else _all_clause(shown)
    return Mistake(typed=text, reason=f"there is no {group} {wrong}{listed}", corrected=corrected)


def _as_typed(name: str, value: str) -> str:
    """How `name` stands in what was typed: a model may have been typed with an ending."""
    forms = (f"{name}.yaml", name, name.replace("/", "__", 1))
    return next((form for form in forms if form in value), name)


def _unknown_key(text: str, key: str, settable: Settable, *, added: bool) -> Mistake:
    near = nearest_names(key, settable.names)
    is_likely = bool(near) and _likeness(key, near[0]) >= LIKELY
    is_detectron2s = key.split(".")[0].isupper()
    what = "detectron2 has no key" if is_detectron2s else "there is no setting"
    reason = f"{what} {key}{_nearest_clause(near)}"
    if is_detectron2s and (added or not is_likely):
        reason += "; a key of another project enters through config_extensions=[module:function]"
    corrected = (near[0] + text.lstrip("+~")[len(key) :],) if is_likely else ()
    return Mistake(typed=text, reason=reason, corrected=corrected)


def _wrong_value(text: str, key: str, value: Any, schema: DictConfig) -> Mistake | None:
    node = _node(key, schema)
    if isinstance(node, DictConfig) and not isinstance(value, dict):
        inner = [f"{key}.{name}" for name in setting_names(node)][:3]
        return Mistake(typed=text, reason=f"{key} is a group of settings, such as {', '.join(inner)}")
    try:
        # OmegaConf judges, on a copy, as it will when composing.
        OmegaConf.update(copy.deepcopy(schema), key, value, merge=True)
    except OmegaConfBaseException as error:
        if isinstance(node, ListConfig) and not isinstance(value, list | dict) and value is not None:
            return Mistake(typed=text, reason=f"{key} takes a list", corrected=(f"{key}=[{text.partition('=')[2]}]",))
        shown = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
        reason = f"{key} takes {_kind_of(node)}, not {shown}"
        if isinstance(value, dict):
            reason = str(error).splitlines()[0]
        return Mistake(typed=text, reason=reason, corrected=_meant_value(key, value, node))
    return None


def _meant_value(key: str, value: Any, node: Any) -> tuple[str, ...]:
    if isinstance(node, IntegerNode) and isinstance(value, float) and value.is_integer():
        # People write 1e5 for an iteration.
        return (f"{key}={int(value)}",)
    if isinstance(node, EnumNode) and isinstance(value, str):
        near = nearest_names(SYNONYMS.get(value, value), [member.name for member in node.enum_type])
        return (f"{key}={near[0]}",) if near else ()
    return ()


def _kind_of(node: Any) -> str:
    if isinstance(node, EnumNode):
        members: Iterable[Enum] = node.enum_type
        return "one of " + ", ".join(member.name for member in members)
    kinds = {
        "IntegerNode": "a whole number",
        "FloatNode": "a number",
        "BooleanNode": "true or false",
        "StringNode": "text",
    }
    return kinds.get(type(node).__name__, "a list" if isinstance(node, ListConfig) else "another kind of value")


def _exists(key: str, schema: DictConfig) -> bool:
    if _node(key, schema) is not None:
        return True
    # A node of another project may take any key.
    parent = _node(key.rpartition(".")[0], schema) if "." in key else None
    return isinstance(parent, DictConfig) and parent._get_node_flag("struct") is False


def _node(key: str, schema: DictConfig) -> Any:
    node: Any = schema
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            return None
        node = node._get_node(part)
    return node


def _nearest_clause(names: Sequence[str]) -> str:
    return f"; nearest: {', '.join(names)}" if names else ""


def _all_clause(names: Sequence[str]) -> str:
    return f"; there are {', '.join(names)}" if 0 < len(names) <= MAX_NAMES_LISTED else ""


def _likeness(typed: str, known: str) -> float:
    folded, known = typed.casefold(), known.casefold()
    if known.endswith(f".{folded}"):
        return 1.0
    return difflib.SequenceMatcher(None, folded, known).ratio()


def _missing_option(error: MissingConfigException) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    near = nearest_names(name, error.options or ())
    clause = _nearest_clause(near) if near else _all_clause(error.options or ())
    return f"{_file_prefix(str(error))}there is no {group or 'configuration'} {name}{clause}."


def _file_prefix(text: str) -> str:
    """Which file it is about, when it is one of ours or the user's."""
    where = next(iter(re.findall(r"In '([^']+)'", text)), "")
    return f"In {where}.yaml: " if where and not where.startswith("hydra/") else ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
