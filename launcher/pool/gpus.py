"""Which GPUs this machine has for jobs: looks, in child processes, so that no CUDA enters the controller."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.device.causes.diagnose import diagnose, usable_gpu
from launcher.device.diagnosis import Diagnosis
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import merge_gpus
from launcher.device.look.files import count_cpus
from launcher.device.look.probe import STAGES, look_at_devices
from launcher.device.policy.choice import by_default, describe_excluded
from launcher.pool.settings import Asked
from launcher.pool.slots import There

COMPUTES = STAGES[: STAGES.index("sync") + 1]
"""Of the smoke test: what any application needs of a GPU. Each further stage needs a library that not all use."""


def look_for_devices(asked: Asked, environ: Mapping[str, str]) -> There:
    """What there is, as far as the settings need to know."""
    if asked.devices == "cpu":
        return There(gpus=(), others=(), why_not="", allocated=False, num_cpus=count_cpus())
    return there_from(look_at_devices(environ, full=False, stages=COMPUTES, backend=""))


def there_from(facts: DeviceFacts) -> There:
    """What the facts mean for jobs. An application without torch gets the GPUs that the driver shows."""
    if facts.packages.torch:
        return _from_diagnosis(by_default(diagnose(facts)))
    shown = tuple(usable_gpu(gpu) for gpu in merge_gpus(facts) if gpu.visible)
    return There(
        gpus=shown,
        others=(),
        why_not="" if shown else "the NVIDIA driver shows none",
        allocated=bool(facts.job.promised_gpus),
        num_cpus=facts.platform.num_cpus,
    )


def _from_diagnosis(diagnosis: Diagnosis) -> There:
    excluded = describe_excluded(diagnosis.excluded_gpus)
    blocking = diagnosis.blocking.cause if diagnosis.blocking and not diagnosis.usable_gpus else ""
    return There(
        gpus=tuple(sorted(diagnosis.usable_gpus, key=lambda gpu: (gpu.index is None, gpu.index or 0))),
        others=tuple((gpu.index, gpu.uuid) for gpu in diagnosis.excluded_gpus),
        why_not=blocking or excluded,
        allocated=diagnosis.gpus_allocated,
        num_cpus=diagnosis.num_cpus,
    )
