"""What a cause is: one value that the doctor, `explain` and docs/causes.md are all made of. Data only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import GpuView


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What speaks for a cause on one machine."""

    lines: tuple[str, ...]
    title: str = ""
    """Sharper than the cause's own, which holds where this is empty. Of one GPU: a clause that continues its name."""
    fix: str = ""
    """Sharper than the cause's own, which holds where this is empty."""
    is_note: bool = False
    """Of one GPU: it can be used all the same."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One cause by which GPUs cannot be used or a run fails: how to find it, what it means, what to do."""

    code: str
    """Stable, for example `driver.too_old`; the part before the point is its group."""
    severity: Severity = Severity.error
    """Of what is found about the machine. That one GPU must not be used is a warning while others can be."""
    title: str
    """One clause without a full stop."""
    meaning: str
    fix: str
    """What to type or do next, where nothing is known about the machine."""
    symptoms: tuple[str, ...] = ()
    """Pieces of the errors and warnings of others that it shows itself by, as they are printed; `…` stands for
    anything, `Error 214:` for every way in which that number is written."""
    find: Callable[[DeviceFacts], Evidence | None] | None = None
    """Looks for it on the machine; None for what only a GPU or a run can have."""
    unless: tuple[Callable[[DeviceFacts], bool], ...] = ()
    """What speaks against it: one of these is enough for `find` not to be asked."""
    find_on_gpu: Callable[[DeviceFacts, GpuView], Evidence | None] | None = None
    """Looks for it on one GPU, which then must not be used, unless it is only a note."""
    hides: tuple[str, ...] = ()
    """Codes, with `*`, that follow from this one."""
    blocks: bool = False
    """It explains that no GPU can be used."""
    fatal: bool = False
    """Not even the CPU can train."""

    def look(self, facts: DeviceFacts) -> Evidence | None:
        """The evidence for it on this machine, if there is some and nothing speaks against it."""
        if self.find is None or any(speaks_against(facts) for speaks_against in self.unless):
            return None
        return self.find(facts)

    def covers(self, code: str) -> bool:
        """Whether what has this code follows from this cause."""
        return any(fnmatch(code, pattern) for pattern in self.hides)


# What follows where the driver is not reached, or there is no GPU to reach.
UNREACHABLE = ("driver.*", "nvml.*", "visible.*", "gpu.*", "container.*", "libraries.*")
WITHOUT_CUDA = ("torch.cpu_only", "torchvision.cpu_only")
