"""The only room that knows detectron2 and torch: worker, trainer, hooks, writers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.train.trainer import Trainer

__all__ = ["Trainer"]


def __getattr__(name: str) -> Any:
    # Importing the package must not import torch: a worker notes stop signals before that takes its seconds.
    if name == "Trainer":
        from launcher.train.trainer import Trainer

        return Trainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
