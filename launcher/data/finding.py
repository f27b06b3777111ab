"""One thing that was noticed of a run's data: how much it matters, what it is, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """What a finding does to a training."""

    error = "error"
    """It would stop the training, or make its results wrong."""
    warning = "warning"
    """The training runs, and this is probably not meant."""
    hint = "hint"
    """It may be meant."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was noticed of a run's data."""

    code: str
    severity: Severity
    where: str
    """The setting that names the file; empty where several are meant."""
    data_set: str
    """train, val or a registered name; empty where several are meant."""
    what: str
    """Without examples."""
    text: str
    """The same with its examples."""
    fix: str
    """The setting or the lines to change; empty where there is nothing to be said."""
    count: int
    """Entries that are so; 0 where it is not counted."""
    examples: tuple[str, ...]
    """The first few."""

    def sentence(self) -> str:
        """Where, what and what to do, without a full stop at its end."""
        parts = [f"{self.where}: {self.text}" if self.where else self.text, self.fix]
        return ". ".join(part for part in parts if part)


def sentences(findings: Iterable[Finding]) -> list[str]:
    """As they are reported one by one."""
    return [finding.sentence() for finding in findings]
