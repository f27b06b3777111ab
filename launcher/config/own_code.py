"""What a user's own modules register, found out by a child process: the launcher imports neither them nor torch."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.config.asked import listed
from launcher.config.described import (
    DEADLINE_S,
    Answer,
    ask_child,
    cache_folders,
    digest,
    last_lines,
    read_fresh,
    stamps,
    store,
)
from launcher.config.request import OwnCode
from launcher.errors import RequestError

CHILD_PROGRAM = "launcher.train.compat.describe_own_code"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class OwnDataset:
    """What the user's code says of a data set that it registers, before that is loaded."""

    classes: tuple[str, ...] | None
    """The names of its classes of things; None where nothing says them."""
    is_semantic: bool
    """It has classes of stuff."""
    unreadable: str
    """Why its file of annotations cannot be read, empty where it can or none is known."""


@dataclass(frozen=True, kw_only=True)
class OwnCodeFacts:
    """What the user's code registers."""

    asked: OwnCode
    registered: tuple[str, ...]
    """Names of all data sets that are registered after it, detectron2's own left out."""
    data_sets: Mapping[str, OwnDataset]
    """Those of them that the run trains or evaluates on."""
    needs_gpu: str
    """Why only a process with a GPU can import it, and nothing else is known; empty where any can."""


def look_at_own_code(
    asked: OwnCode,
    names: Sequence[str],
    *,
    environ: Mapping[str, str] = os.environ,
    announce: Callable[[str], None] = lambda _: None,
    deadline_s: float = DEADLINE_S,
) -> OwnCodeFacts | None:
    """Import the user's modules in a child with the worker's environment `environ`; None where there are none.

    `names` are the data sets to be described. The answer is kept until a file that it was made from changes.

    Raises:
        RequestError: they cannot be imported, or the trainer cannot train here.
    """
    if not asked.imports and not asked.trainer:
        return None
    file_name = f"own-code-{digest(_question(asked, names, environ))}.json"
    for folder in cache_folders(environ):
        described = read_fresh(folder / file_name)
        if described is not None and described["environment"] == digests_of(described["environment"], environ):
            return _facts_of(asked, described)

    announce(f"Importing {', '.join(names_of(asked))} to see what is registered; once, until one of its files changes.")
    described = _describe(asked, names, environ, deadline_s)
    if problem := described.get("problem"):
        raise RequestError(problem)
    described["made_from"] = _existing_stamps(described.pop("files"))
    described["environment"] = digests_of(described.pop("variables"), environ)
    store(described, file_name, environ)
    return _facts_of(asked, described)


def names_of(asked: OwnCode) -> list[str]:
    """The modules that are imported, as they are spelled in the settings."""
    return list(dict.fromkeys([*asked.imports, *([asked.trainer.partition(":")[0]] if asked.trainer else [])]))


def settings_of(asked: OwnCode) -> str:
    """As typed: `imports=[my_data] trainer=my_trainer:MyTrainer`."""
    typed = [f"imports={listed(asked.imports)}"] if asked.imports else []
    return " ".join([*typed, *([f"trainer={asked.trainer}"] if asked.trainer else [])])


def digests_of(variables: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What changes when one of the variables does, without the values, which may be secret."""
    return {name: hashlib.sha256(environ.get(name, "\0").encode()).hexdigest()[:16] for name in variables}


def _question(asked: OwnCode, names: Sequence[str], environ: Mapping[str, str]) -> list[Any]:
    python = [sys.executable, *sys.version_info[:2], os.getcwd(), environ.get("PYTHONPATH", "")]
    return [_FORMAT, asked.config_extensions, asked.imports, asked.trainer, names, python]


def _facts_of(asked: OwnCode, described: Mapping[str, Any]) -> OwnCodeFacts:
    data_sets = {
        name: OwnDataset(
            classes=None if one["classes"] is None else tuple(one["classes"]),
            is_semantic=one["is_semantic"],
            unreadable=one["unreadable"],
        )
        for name, one in described["data_sets"].items()
    }
    return OwnCodeFacts(
        asked=asked,
        registered=tuple(described["registered"]),
        data_sets=data_sets,
        needs_gpu=described["needs_gpu"],
    )


def _existing_stamps(files: Sequence[str]) -> dict[str, list[int]]:
    return stamps(file for file in files if os.path.exists(file))


def _describe(asked: OwnCode, names: Sequence[str], environ: Mapping[str, str], deadline_s: float) -> dict[str, Any]:
    question = {
        "config_extensions": asked.config_extensions,
        "imports": asked.imports,
        "trainer": asked.trainer,
        "names": names,
    }
    answer = _ask(asked, json.dumps(question), environ, deadline_s)
    if answer.status != 0 or not answer.text:
        raise RequestError(
            f"{settings_of(asked)}: the process that imported it {_ended(answer.status)}; it printed\n"
            f"{last_lines(answer.printed)}\n"
            f'Does this work?  python -c "import {", ".join(names_of(asked))}"'
        )
    described: dict[str, Any] = json.loads(answer.text)
    return described


def _ask(asked: OwnCode, question: str, environ: Mapping[str, str], deadline_s: float) -> Answer:
    try:
        return ask_child(CHILD_PROGRAM, [question], environ=environ, deadline_s=deadline_s)
    except subprocess.TimeoutExpired as error:
        raise RequestError(
            f"{settings_of(asked)}: importing took longer than {deadline_s:.0f} s. Put what takes long into a "
            "function; on import a module should only define and register."
        ) from error


def _ended(status: int) -> str:
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
