"""What can follow each command on a command line, for completion. A test compares the options with every `--help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HYDRA_OPTIONS = (
    *("--cfg", "--config-dir", "--config-name", "--config-path", "--experimental-rerun", "--help", "--hydra-help"),
    *("--info", "--multirun", "--package", "--resolve", "--run", "--shell-completion", "--version"),
)


@dataclass(frozen=True, kw_only=True)
class Follows:
    """What a command takes."""

    options: tuple[str, ...] = ()
    """Beside `--help`."""
    words: tuple[str, ...] = ()
    """To choose from, in the first place."""
    runs: int = 0
    """How many of its first words name runs."""
    settings: bool = False
    """Whether settings follow."""
    codes: bool = False
    """Whether codes of causes and names of settings follow."""


FOLLOWS: Mapping[str, Follows] = {
    "train": Follows(options=(*HYDRA_OPTIONS, "--in-place", "--detach"), settings=True),
    "plan": Follows(options=(*HYDRA_OPTIONS, "--json", "--detach"), settings=True),
    "eval": Follows(options=("--compare", "--json", "--out"), runs=1, settings=True),
    "predict": Follows(
        options=("--images-json", "--json", "--no-images", "--out", "--threshold"), runs=1, settings=True
    ),
    "runs": Follows(options=("--json", "--sort", "--state")),
    "status": Follows(options=("--follow", "--json", "--lines", "--root"), runs=1),
    "resume": Follows(options=("--root",), runs=1, settings=True),
    "submit": Follows(options=("--print", "--config-dir"), settings=True),
    "cancel": Follows(options=("--root", "--wait"), runs=1),
    "diff": Follows(options=("--json", "--root"), runs=2),
    "reproduce": Follows(options=("--json", "--root", "--run"), runs=1),
    "install": Follows(options=("--again", "--dry-run"), words=("detectron2",)),
    "doctor": Follows(options=("--json", "--verbose")),
    "explain": Follows(options=("--run",), codes=True),
    "list": Follows(
        options=("--config-dir", "--json"), words=("models", "datasets", "experiments", "settings", "causes")
    ),
    "report": Follows(options=("--out", "--root")),
    "data": Follows(words=("check", "show", "convert", "demo")),
    "tensorboard": Follows(options=("--port",), runs=2),
    "completion": Follows(words=("install", "uninstall", "bash", "zsh", "fish")),
}
"""By command; of one that is not here, files are completed."""
VALUES: Mapping[str, tuple[str, ...]] = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
"""Of options."""
ONLY_LATER: Mapping[str, tuple[str, ...]] = {
    "resume": ("auto", "must", "never"),
    "checkpoint": ("best", "last", "final"),
}
"""Of settings whose values are words among others."""
