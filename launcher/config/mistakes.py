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
from omegaconf import DictConfig, EnumNode, FloatNode, IntegerNode, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launcher.config.arguments import MULTIRUN_FLAGS, Arguments, override_for_hydra, spelled
from launcher.config.places import PATHS
from launcher.config.presets import MODEL_GROUP
from launcher.config.schema import OWN_NODES, setting_names
from launcher.config.yaml_files import FileRead, as_list

MAX_SWEPT_VALUES = 100
_LISTED_SWEEPS = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP, ValueType.RANGE_SWEEP)

MAX_NAMES_LISTED = 12
LIKELY = 0.8
LIKELY_OPTION = 0.7
DOTTED = r"[A-Za-z_]\w*(?:\.\w+)+"
SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps"}
HABITS = {
    "lr": "SOLVER.BASE_LR",
    "learning_rate": "SOLVER.BASE_LR",
    "batch_size": "SOLVER.IMS_PER_BATCH",
    "epochs": "SOLVER.MAX_ITER",
    "num_epochs": "SOLVER.MAX_ITER",
    "max_epochs": "SOLVER.MAX_ITER",
    "solver.epochs": "SOLVER.MAX_ITER",
    "solver.max_epochs": "SOLVER.MAX_ITER",
    "iterations": "SOLVER.MAX_ITER",
    "amp": "SOLVER.AMP.ENABLED",
    "gpus": "device.count",
    "num_gpus": "device.count",
    "config_file": "model",
}
"""What people type who come from other programs."""
LIST_HINT = "lists are written in brackets without spaces, KEY=[1,2]"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Something that cannot be meant."""

    typed: str
    """The word of the command line, or the two words that should be one."""
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
    found = (_mistake_in(text, settable, arguments.is_multirun) for text in _pairs_joined(arguments.overrides))
    return [_with_right_correction(mistake, settable) for mistake in found if mistake is not None]


def mistakes_in_files(files: Iterable[FileRead], settable: Settable) -> list[str]:
    """Every setting of configuration files that cannot be meant, in the words that it would get on the command line."""
    return list(dict.fromkeys(line for file in files for line in _mistakes_in_one(file, settable)))


def _mistakes_in_one(file: FileRead, settable: Settable) -> Iterator[str]:
    if strayed := _strayed(file, settable):
        yield f"{file.path}: {without_package(*strayed)}"
        return
    for name, value in file.settings:
        if (mistake := _mistake_in_file(name, value, settable)) is not None:
            option = f" To choose that option: defaults: [override /{name}: {value}]"
            is_option = isinstance(value, str) and value in settable.groups.get(name, ())
            yield f"In {file.path}: {mistake.reason}.{option if is_option else ''}"


def _strayed(file: FileRead, settable: Settable) -> tuple[str, list[str]] | None:
    """The group, and the nodes that have landed below its name."""
    split = [name.split(".")[:2] for name, _ in file.settings if "." in name]
    below = {inner: group for group, inner in split if group in settable.groups and inner in settable.schema}
    inside = [inner for inner, group in below.items() if not _exists(f"{group}.{inner}", settable.schema)]
    return (below[inside[0]], inside) if inside else None


def _mistake_in_file(name: str, value: Any, settable: Settable) -> Mistake | None:
    if name.split(".")[0] == "hydra":
        return None
    if not _exists(name, settable.schema):
        return _unknown_key(f"{name}={value}", name, settable, added=True)
    is_known_later = isinstance(value, str) and "${" in value
    return None if is_known_later else _wrong_value(f"{name}={value}", name, value, settable.schema)


def describe(mistakes: Sequence[Mistake]) -> str:
    """One line for each mistake."""
    return "\n".join(f"{mistake.typed}: {mistake.reason}." for mistake in mistakes)


def corrected_arguments(mistakes: Sequence[Mistake], arguments: Arguments) -> Arguments | None:
    """The command line without the mistakes; None where one of them cannot be guessed."""
    corrected = {mistake.typed: mistake.corrected for mistake in mistakes}
    if not all(corrected.values()):
        return None
    words = tuple(word for text in _pairs_joined(arguments.overrides) for word in corrected.get(text, (text,)))
    if words == arguments.overrides:
        return None
    overrides = tuple(word for word in words if word not in MULTIRUN_FLAGS)
    added = tuple(word for word in words if word in MULTIRUN_FLAGS and word not in arguments.flags)
    return replace(arguments, overrides=overrides, flags=(*dict.fromkeys(added), *arguments.flags))


def command_line(command: str, arguments: Arguments) -> list[str]:
    """The lines that say what to type."""
    # `-m` stands first, as people know it; everything else where it stood.
    first = [flag for flag in arguments.flags if flag in MULTIRUN_FLAGS][:1]
    rest = [flag for flag in arguments.flags if flag not in first]
    return ["Type:", f"  {command} {shlex.join([*first, *arguments.overrides, *rest])}"]


def describe_failure(error: BaseException, settable: Settable) -> str:
    """In one paragraph what Hydra or OmegaConf say, for what is in files rather than on the command line."""
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    text = "\n".join(str(part) for part in _chain(error))
    prefix = _file_prefix(text)
    key = next(iter(re.findall(r"full_key: (\S+)", text)), "")
    if match := re.search(r"Merge error: \w+ is not a subclass of (\w+)\. value: (.*)", text):
        return f"{prefix}{_not_a_node(match[1], match[2], settable)}"
    if key and re.search(r"is not in struct|not in '\w+'", text):
        group, _, below = key.partition(".")
        if group in settable.groups and below in settable.schema:
            return without_package(group, [below])
        return f"{prefix}there is no setting {key}{_nearest_clause(nearest_names(key, settable.names))}."
    lines = (line for part in _chain(error) for line in str(part).splitlines())
    noise = ("full_key:", "object_type=", "reference_type=", "Search path:", "Config search path:", "provider=")
    kept = [line.strip() for line in dict.fromkeys(lines) if line.strip() and not line.lstrip().startswith(noise)]
    kept = [line for line in kept if "raised while composing" not in line]
    if key and not any(key in line for line in kept):
        prefix += f"{key}: "
    return prefix + " ".join(kept)


def without_package(group: str, below: Sequence[str]) -> str:
    """What is wrong with a file whose settings have landed under the name of its folder."""
    return (
        f"A file in {group}/ sets {', '.join(below)} under {group}, because the line that lets it set what stands "
        "elsewhere is missing. Write as its first line:\n  # @package _global_"
    )


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
    starts = [(key, same) for key, same in by_folded.items() if key.startswith(folded) or f"/{folded}" in key]
    starting = sorted(known for _, same in starts for known in same)
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


def _pairs_joined(words: Sequence[str]) -> list[str]:
    """With `KEY VALUE`, which is how detectron2's own command line takes settings, as one word."""
    joined: list[str] = []
    for word in words:
        is_value = "=" not in word and joined and (joined[-1] in HABITS or re.fullmatch(DOTTED, joined[-1]))
        joined[-1:] = [f"{joined[-1]} {word}"] if is_value else [*joined[-1:], word]
    return joined


def _mistake_in(text: str, settable: Settable, is_multirun: bool) -> Mistake | None:
    if re.fullmatch(rf"(\w+|{DOTTED}) [^=]*", text):
        reason = "settings are written KEY=VALUE"
        return Mistake(typed=text, reason=reason, corrected=(text.replace(" ", "=", 1),))
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
    if key in settable.groups and override.package is not None:
        reason = "a group takes no package"
        return Mistake(typed=text, reason=reason, corrected=(text.replace(f"@{override.package}", "", 1),))
    if key in settable.groups and not any(isinstance(value, dict) for value in values):
        return next(filter(None, (_wrong_option(text, key, value, settable) for value in values)), None)
    if not _exists(key, settable.schema):
        return _unknown_key(text, key, settable, added=override.is_add() or override.is_force_add())
    if override.is_delete():
        return Mistake(typed=text, reason=f"{key} always has a value and cannot be removed")
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
    if key in PATHS and ("/" in value or "." in value):
        reason = "a comma in a path needs quotes inside quotes; several values are a sweep, which needs -m"
        return Mistake(typed=text, reason=reason, corrected=(f'{key}="{value}"',))
    node = _node(override.key_or_group, settable.schema)
    if isinstance(node, FloatNode) and re.fullmatch(r"[-+]?0,\d+", value):
        reason = "numbers have a decimal point"
        return Mistake(typed=text, reason=reason, corrected=(f"{key}={value.replace(',', '.')}",))
    if not isinstance(node, ListConfig):
        return Mistake(typed=text, reason="several values are a sweep, which needs -m", corrected=("-m", text))
    reason = f"{LIST_HINT}; for one training per value add -m"
    return Mistake(typed=text, reason=reason, corrected=(f"{key}=[{value}]",))


def _wrong_option(text: str, group: str, value: Any, settable: Settable) -> Mistake | None:
    options = settable.groups[group]
    if value is None and "=" in text:
        reason = f"{group} takes the name of an option, not null; ~{group} removes what is chosen"
        return Mistake(typed=text, reason=reason, corrected=(f"~{group}",))
    chosen = value if isinstance(value, list) else [value]
    unknown = [str(name) for name in chosen if name is not None and str(name) not in options]
    if not unknown:
        return None
    shown = list(spelled(options)) if group == MODEL_GROUP else list(options)
    (wrong,) = spelled(unknown[:1]) if group == MODEL_GROUP else unknown[:1]
    # People name a file of the zoo by its path in detectron2's repository.
    meant = SYNONYMS.get(wrong, wrong if group != MODEL_GROUP else "/".join(_path_parts(wrong)[-2:]) or wrong)
    near = nearest_names(meant, shown)
    typed_value = text.partition("=")[2]
    is_one = len(near) == 1 or (near and _likeness(meant, near[0]) >= LIKELY_OPTION)
    is_path = group == MODEL_GROUP and meant != wrong and not isinstance(value, list)
    fixed = f"{text.partition('=')[0]}={near[0]}" if is_path and near else None
    corrected = (fixed or text.replace(_as_typed(wrong, typed_value), near[0]),) if is_one else ()
    listed = _nearest_clause(near) if near else _elsewhere_clause(wrong, settable) + _all_clause(shown)
    return Mistake(typed=text, reason=f"there is no {group} {wrong}{listed}", corrected=corrected)


def _path_parts(name: str) -> list[str]:
    # Hydra's spelling of an option has two underscores for the first slash.
    parts = re.sub(r"\.ya?ml$", "", name.replace("__", "/")).split("/")
    return [part for part in parts if part not in ("", ".", "..", "configs")]


def _as_typed(name: str, value: str) -> str:
    """How `name` appears in what was typed: a model may have been typed with an ending."""
    forms = (f"{name}.yaml", name, name.replace("/", "__", 1))
    return next((form for form in forms if form in value), name)


def _unknown_key(text: str, key: str, settable: Settable, *, added: bool) -> Mistake:
    habit = HABITS.get(key.casefold())
    near = [habit] if habit else nearest_names(key, settable.names)
    # An epoch is many iterations: there the value is another one too.
    is_epochs = bool(habit) and key.casefold().endswith("epochs")
    is_likely = not is_epochs if habit else bool(near) and _likeness(key, near[0]) >= LIKELY
    is_detectron2s = key.split(".")[0].isupper()
    what = "detectron2 has no key" if is_detectron2s else "there is no setting"
    reason = f"{what} {key}{_nearest_clause(near)}"
    if is_epochs:
        reason += ", in iterations: epochs x training images / SOLVER.IMS_PER_BATCH"
    elif is_detectron2s and (added or not is_likely):
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
        if isinstance(node, ListConfig) and isinstance(value, str) and re.fullmatch(r"\(.*\)", value.strip()):
            corrected = f"{key}={as_list(value).replace(' ', '')}"
            return Mistake(typed=text, reason=f"Hydra knows no tuples; {LIST_HINT}", corrected=(corrected,))
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
    if len(names) <= MAX_NAMES_LISTED:
        return f"; there are {', '.join(names)}" if names else ""
    return f"; there are {len(names)}, such as {', '.join(names[:3])}; launcher train --help lists them"


def _elsewhere_clause(option: str, settable: Settable) -> str:
    groups = [group for group, options in settable.groups.items() if option in options]
    return "".join(f"; there is {group}={option}" for group in groups)


def _likeness(typed: str, known: str) -> float:
    folded, known = typed.casefold(), known.casefold()
    if known.endswith((f".{folded}", f"/{folded}")):
        return 1.0
    return difflib.SequenceMatcher(None, folded, known).ratio()


def _not_a_node(kind: str, value: str, settable: Settable) -> str:
    """A file gives one value to a whole node of ours."""
    name = next((name for name, node in OWN_NODES.items() if node.__name__ == kind), kind)
    inner = [f"{name}.{key}" for key in settable.schema.get(name, ())]
    reason = f"{name} is a group of settings ({', '.join(inner)}), not {value}."
    if value in settable.groups.get(name, ()):
        reason += f" To choose that option: defaults: [override /{name}: {value}]"
    return reason


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
