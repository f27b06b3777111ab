"""What the commands that use a model have in common: whose model a command line means, and the request for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.cli.flags import is_setting
from launcher.cli.resumable import resumable_until_trained
from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.config.task import InferenceRequest
from launcher.errors import ExitCode, RequestError
from launcher.launch.inference import for_inference
from launcher.run.found import ROOT, find_run, is_run
from launcher.run.trained import read_trained
from launcher.run.weights import find_weights

MODEL_GROUPS = ("model", "experiment")
"""What names a model where no run is named."""
NOT_WITH_A_RUN = (*MODEL_GROUPS, "solver", "debug")
EXAMPLE = "model=COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of such a command line, without the command's own options."""

    run: str
    """The run folder, absolute; empty where the model is named by settings."""
    checkpoint: str
    others: tuple[str, ...]
    """Words that are neither a run nor a setting: for predictions, images."""
    settings: tuple[str, ...]
    """For Hydra, its flags included."""


def sort_words(arguments: Sequence[str], *, command: str) -> Words:
    """Tell the run, settings and other words apart.

    Raises:
        RequestError: neither a run nor a model is named, or both are, or there is no such run.
    """
    asked = take_apart(arguments)
    root = Path(_root_in(asked.overrides))
    others = [word for word in asked.overrides if not is_setting(word) or is_run(root / word)]
    settings = [word for word in asked.overrides if word not in others]
    checkpoint = [word.partition("=")[2] for word in settings if word.startswith("checkpoint=")]
    settings = [word for word in settings if not word.startswith("checkpoint=")]
    named = [word for word in settings if _key_of(word) in MODEL_GROUPS]
    if named:
        if checkpoint:
            raise RequestError(
                f"checkpoint={checkpoint[-1]} chooses among a run's; with {named[0]} set MODEL.WEIGHTS=PATH."
            )
        return Words(run="", checkpoint="", others=tuple(others), settings=(*settings, *asked.flags))
    if not others:
        raise RequestError(
            f"Whose model? Name a run, launcher {command} RUN, or a model, launcher {command} {EXAMPLE}."
        )
    folder = _run_called(others[0], root)
    if unusable := [word for word in settings if _key_of(word) in NOT_WITH_A_RUN]:
        raise RequestError(
            f"{unusable[0]} would make another model than that of {others[0]}. Leave it out, or the run."
        )
    return Words(
        run=str(folder),
        checkpoint="".join(checkpoint[-1:]),
        others=tuple(others[1:]),
        settings=(*settings, *asked.flags),
    )


def _run_called(word: str, root: Path) -> Path:
    try:
        return find_run(word, root)
    except RequestError as error:
        raise RequestError(
            f"{error}\nThe first word says whose model it is; without a run, name one: {EXAMPLE}"
        ) from error


def _key_of(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _root_in(settings: Sequence[str]) -> str:
    return next((word.partition("=")[2] for word in settings if _key_of(word) == "run.root"), ROOT)


def compose_for(
    task: InferenceRequest, words: Words, use: Callable[[RunRequest], float | None], *, command: str
) -> int:
    """Compose the request of a task, upon the settings of the run where one is named, and call `use` with it.

    Raises:
        LauncherError: it cannot be meant, or failed.
        SystemExit: it was stopped.
    """
    with resumable_until_trained():
        _compose(task, words, use, command=command)
    return ExitCode.finished


def compose_request(task: InferenceRequest, words: Words, *, command: str) -> RunRequest:
    """The request alone; in any thread.

    Raises:
        LauncherError: it cannot be meant.
    """
    requests: list[RunRequest] = []
    _compose(task, words, requests.append, command=command)
    return requests[0]


def _compose(task: InferenceRequest, words: Words, use: Callable[[RunRequest], float | None], *, command: str) -> None:
    frozen, settings = None, list(words.settings)
    if words.run:
        own = next((word.partition("=")[2] for word in reversed(settings) if _key_of(word) == "MODEL.WEIGHTS"), "")
        weights = own or str(find_weights(Path(words.run), words.checkpoint))
        frozen = read_trained(Path(words.run), weights)
        settings += list(_extensions(frozen, settings))
    run_hydra(
        settings,
        lambda request: use(for_inference(request)),
        command=command,
        frozen=frozen,
        asks=task,
    )


def _extensions(frozen: dict[str, object], settings: Sequence[str]) -> Iterator[str]:
    names = frozen.get("config_extensions")
    is_typed = any(_key_of(word) == "config_extensions" for word in settings)
    if isinstance(names, list) and names and not is_typed:
        yield f"config_extensions=[{','.join(names)}]"
