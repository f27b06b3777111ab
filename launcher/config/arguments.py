"""The words after the command, put into the form that Hydra wants. Plain functions on strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from launcher.config.task import TRAIN, TaskRequest

FLAGS_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun"),
)
INFO_FLAGS = ("--info", "-i")
MULTIRUN_FLAGS = ("--multirun", "-m")
DETACH = "--detach"
"""Ours: short for `cluster.detach=true`."""
OF_ARRAYS = ("cluster.max_parallel", "cluster.detach")
"""Settings that only a sweep can have."""

# Not in the primary defaults list, so that their files can override other groups and come last: see Hydra's pattern of
# configuring experiments. Hydra then wants a plus, which nobody should have to know about.
APPENDED_GROUPS = ("experiment", "debug")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A command line taken apart."""

    overrides: tuple[str, ...]
    """`key=value`, as typed."""
    flags: tuple[str, ...]
    """Hydra's options and their values."""
    task: TaskRequest = TRAIN
    """What the command does with them."""

    @property
    def is_multirun(self) -> bool:
        return any(flag in MULTIRUN_FLAGS for flag in self.flags)

    @property
    def only_shows(self) -> bool:
        """Whether Hydra shows something and runs nothing."""
        return any(flag.partition("=")[0] in ("--cfg", "-c", *INFO_FLAGS) for flag in self.flags)

    @property
    def config_dir(self) -> str | None:
        """The folder of the user's own configuration files."""
        for flag, value in pairwise((*self.flags, "")):
            if flag in ("--config-dir", "-cd"):
                return value
            if flag.startswith("--config-dir="):
                return flag.partition("=")[2]
        return None

    def chosen(self, group: str) -> tuple[str, ...]:
        """The options typed for a group, several in a sweep or in a list."""
        values = (match[1] for text in self.overrides if (match := re.fullmatch(rf"\+{{0,2}}{group}=(.*)", text)))
        return tuple(name for value in values for part in value.split(",") if (name := part.strip(" []")))


def take_apart(arguments: Sequence[str]) -> Arguments:
    """Tell overrides from flags, in whatever order they were typed."""
    overrides, flags = [], []
    waiting = list(reversed(arguments))
    while waiting:
        word = waiting.pop()
        if not word.startswith("-"):
            overrides.append(word)
            continue
        flags.append(word)
        takes_next = word in FLAGS_WITH_VALUE or (word in INFO_FLAGS and waiting and "=" not in waiting[-1])
        if takes_next and waiting and not waiting[-1].startswith("-"):
            flags.append(waiting.pop())
    return Arguments(overrides=tuple(overrides), flags=tuple(flags))


def command_of_one(command: Sequence[str], overrides: Sequence[str]) -> tuple[str, ...]:
    """What trains a job of the command's sweep, which has these overrides, in a run of its own."""
    flags = (flag for flag in take_apart(command[2:]).flags if flag not in (*MULTIRUN_FLAGS, DETACH))
    own = [text for text in overrides if text.partition("=")[0] not in OF_ARRAYS]
    return ("launcher", "submit" if any(map(is_of_cluster, own)) else "train", *flags, *own)


def with_config_dir(arguments: Arguments, change: Callable[[str], str]) -> Arguments:
    """The command line with another folder of the user's own configuration files, made from the one it names."""
    folder = arguments.config_dir
    if folder is None:
        return arguments
    flags = [f"--config-dir={change(folder)}" if flag.startswith("--config-dir=") else flag for flag in arguments.flags]
    for position, (flag, value) in enumerate(pairwise(arguments.flags)):
        if flag in ("--config-dir", "-cd"):
            flags[position + 1] = change(value)
    return replace(arguments, flags=tuple(flags))


def for_hydra(arguments: Arguments) -> list[str]:
    """The command line that Hydra gets."""
    # Hydra appends groups in the order in which they stand, and the later one wins: debug= has to come after
    # experiment=. Overrides stand before flags because argparse takes them only in one piece.
    overrides = [override_for_hydra(text) for text in arguments.overrides]
    return [*sorted(overrides, key=_rank), *arguments.flags]


def first_of_sweep(arguments: Arguments) -> Arguments:
    """The command line of the first job of a sweep, as far as plain lists go."""
    if not arguments.is_multirun:
        return arguments
    return replace(arguments, overrides=tuple(_first_value(text) for text in arguments.overrides))


def _first_value(text: str) -> str:
    key, equals, value = text.partition("=")
    is_list = re.fullmatch(r"[^\[{('\"]+", value) is not None
    return f"{key}={value.partition(',')[0]}" if equals and is_list else text


def with_text_as_typed(arguments: Arguments, names: Collection[str]) -> Arguments:
    """The command line with quotes around what is text and looks like a number, or like settings, to Hydra.

    It would make `100000.0` of `run.name=1e5`, `202601` of `run.name=2026_01`, and nothing of a path into
    `outputs/demo/BASE_LR=0.01,IMS_PER_BATCH=4`.
    """
    return replace(arguments, overrides=tuple(_as_text(text, names) for text in arguments.overrides))


def _as_text(text: str, names: Collection[str]) -> str:
    key, equals, value = text.partition("=")
    if not equals or key.lstrip("+") not in names:
        return text
    if re.fullmatch(r"[^'\"\[\](){}\\]*=[^'\"\[\](){}\\]*", value):
        return f'{key}="{value}"'
    parts = (f'"{part}"' if _is_spelled_otherwise(part) else part for part in value.split(","))
    return f"{key}={','.join(parts)}"


def _is_spelled_otherwise(value: str) -> bool:
    """Whether Hydra reads it as a number or a truth value, and would not write that as it stands here."""
    is_scalar = re.fullmatch(r"[-+]?[\d_]*\.?[\d_]*([eE][-+]?[\d_]+)?|[-+]?(inf|nan)|true|false", value, re.IGNORECASE)
    return is_scalar is not None and re.search(r"\d|[a-z]", value, re.IGNORECASE) is not None and not value.isdecimal()


def override_for_hydra(text: str) -> str:
    """`model=COCO-Detection/x.yaml` becomes `model=COCO-Detection__x`, `experiment=coco` gets its plus."""
    sign, key, value = _parts(text)
    if re.fullmatch(r"~[\w.-]*(/[^'\",\\]*)?", value):
        # A shell leaves the tilde after an equals sign alone, and Hydra's grammar does not know it.
        value = f'"{value}"'
    if not value.isascii() and re.fullmatch(r"[\w./-]+", value):
        # A name in another script, which the grammar takes in quotes only.
        value = f'"{value}"'
    if key == "model":
        value = re.sub(r"\.yaml\b", "", value).replace("/", "__")
    if key in APPENDED_GROUPS and sign == "" and "=" in text:
        sign = "+"
    return f"{sign}{key}={value}" if "=" in text else text


def is_hydras(override: str) -> bool:
    """Whether it sets something of Hydra itself."""
    return re.match(r"[+~]*hydra([./=]|$)", override) is not None


def is_of_cluster(override: str) -> bool:
    """Whether it asks for a job of a scheduler."""
    return re.match(r"[+~]*cluster[=.]", override) is not None


def completion_line(line: str) -> str:
    """What a shell wants completed, without the command that Hydra does not know and with the words it can use."""
    program, *words = line.split(" ")
    settled, last = words[:-1], words[-1:]
    if settled and re.fullmatch(r"[a-z]+", settled[0]):
        settled = settled[1:]
    return " ".join([program, *(override_for_hydra(word) for word in settled), *last])


def _parts(text: str) -> tuple[str, str, str]:
    key, _, value = text.partition("=")
    name = key.lstrip("+~")
    return key[: len(key) - len(name)], name, value


def _rank(override: str) -> int:
    ranks = {f"+{group}=": rank for rank, group in enumerate(APPENDED_GROUPS)}
    return next((rank for start, rank in ranks.items() if override.startswith(start)), -1)


def spelled(names: Sequence[str]) -> Iterator[str]:
    """Zoo options as people know them, `COCO-Detection/x`."""
    return (name.replace("__", "/", 1) for name in names)
