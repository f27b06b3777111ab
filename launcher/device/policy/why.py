"""Why a run gets no GPU, or fewer than it asked for: a clause for people, and what it is about for the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.device.diagnosis import Diagnosis, ExcludedGpu, Finding
from launcher.device.policy.choice import describe_excluded


@dataclass(frozen=True, kw_only=True)
class Why:
    """A reason, with the findings and GPUs that it covers and that need no further report."""

    clause: str
    fix: str = ""
    """What to do about it, where something can be done."""
    code: str = ""
    """Of the finding about the machine that it is."""
    gpus: frozenset[str] = frozenset()
    """UUIDs of the GPUs that it names, or that are left out because of it."""

    def covers(self, finding: Finding) -> bool:
        """Whether the reason tells of this finding."""
        return finding.gpu in self.gpus if finding.gpu else finding.code == self.code


def as_asked(clause: str) -> Why:
    """What was asked for is the reason."""
    return Why(clause=clause)


def because_of(finding: Finding, diagnosis: Diagnosis) -> Why:
    """A finding is the reason; one about the machine for all GPUs that are left out under its code."""
    of_code = (gpu.uuid for gpu in diagnosis.excluded_gpus if gpu.code == finding.code)
    gpus = frozenset((finding.gpu,) if finding.gpu else of_code)
    return Why(clause=finding.cause, fix=finding.fix, code=finding.code, gpus=gpus)


def because_excluded(excluded: Sequence[ExcludedGpu]) -> Why:
    """Each of these GPUs has a reason of its own."""
    return Why(clause=describe_excluded(excluded), gpus=frozenset(gpu.uuid for gpu in excluded))


def why_no_gpu(diagnosis: Diagnosis) -> Why:
    """Why no GPU is left on this machine."""
    if diagnosis.blocking is not None:
        return because_of(diagnosis.blocking, diagnosis)
    return because_excluded(diagnosis.excluded_gpus)
