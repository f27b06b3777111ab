"""Train detectron2 models on whatever hardware is available, and use them.

From Python: `launcher.load` gives a predictor, `launcher.evaluate` says how good a model is, `launcher.doctor` is a
diagnosis of this machine's devices. Importing this package imports neither torch nor detectron2.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing imports what a file in the current folder may replace, until `safe_start` has run
if TYPE_CHECKING:
    from typing import Any

    from launcher.api import doctor, evaluate, load

__all__ = ["__version__", "doctor", "evaluate", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("doctor", "evaluate", "load"):
        from importlib import import_module  # as above

        return getattr(import_module("launcher.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
