"""A setting the run gets otherwise than asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """A setting the run gets otherwise than asked, and why."""

    setting: str
    """Dotted key as people type it, for example `SOLVER.AMP.ENABLED`."""
    asked: Any
    planned: Any
    reason: str

    @property
    def is_of_key(self) -> bool:
        """It adjusts one of detectron2's keys, which are upper-case, and not a setting of the launcher's own."""
        return self.setting[:1].isupper()
