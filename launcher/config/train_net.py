"""Options of detectron2's own tools/train_net.py, each with what stands for it here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

_ONE_MACHINE = "a training runs on one machine, with device.count processes. Leave it out"


def habits_in(arguments: Sequence[str]) -> list[str]:
    """What to type instead of those options that are among the arguments, one line for each."""
    found = (_answer(name, value) for name, value in _options_in(arguments))
    return [line for line in dict.fromkeys(found) if line]


def _options_in(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word, following in pairwise((*arguments, "")):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            yield name, value if equals else "" if following.startswith("-") or "=" in following else following


def _answer(name: str, value: str) -> str:
    match name.replace("_", "-"):
        case "--num-gpus":
            return f"{name}: set device.count={value or 'NUMBER'}."
        case "--config-file":
            return f"{name}: {_model_or_file(value)}"
        case "--resume":
            return f"{name}: leave it out. The same command resumes its run by itself; resume=must insists on it."
        case "--eval-only":
            return f"{name}: type launcher eval RUN, or launcher eval model=FOLDER/NAME MODEL.WEIGHTS=PATH."
        case "--num-machines" | "--machine-rank" | "--dist-url":
            return f"{name}: {_ONE_MACHINE}."
        case "--opts":
            return f"{name}: leave it out. Settings are written KEY=VALUE, for example SOLVER.BASE_LR=0.001."
    return ""


def _model_or_file(path: str) -> str:
    match = re.search(r"([\w-]+/[\w.-]+?)(\.ya?ml)?$", path)
    model = (
        f"here model={match[1]} if it is one" if match else "for example model=COCO-Detection/faster_rcnn_R_50_FPN_1x"
    )
    return (
        f"a model of the zoo is chosen with model=FOLDER/NAME, {model}. A file of your own goes into a folder "
        "experiment/ and is chosen with --config-dir FOLDER experiment=NAME."
    )
