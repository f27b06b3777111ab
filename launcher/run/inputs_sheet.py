"""What `launcher data show` asks a child for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.config.keys import Keys
from launcher.config.request import OwnCode
from launcher.data.plan import DatasetPlan


@dataclass(frozen=True, kw_only=True)
class InputsSheet:
    """Some images of data sets as a model gets them, on one sheet."""

    keys: Keys
    own_code: OwnCode
    data: DatasetPlan
    names: tuple[str, ...]
    """The data sets."""
    augmented: bool
    """As training draws them at random, not only resized."""
    class_name: str
    """Only images with an object of it; empty for all."""
    count: int
    file: str
    """Absolute, for the PNG."""


@dataclass(frozen=True, kw_only=True)
class DrawnSheet:
    """What came of it."""

    drawn: int
    chosen: int
    """Images that were to be drawn."""
    available: int
    """Images to choose from."""
    problem: str = ""
    """Why there is no sheet."""
    exit_code: int = 0
