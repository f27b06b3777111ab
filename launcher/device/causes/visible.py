"""What CUDA_VISIBLE_DEVICES keeps from this process."""

from __future__ import annotations

from launcher.device.causes.cause import Cause, Evidence
from launcher.device.causes.evidence import (
    NO_DEVICE,
    driver_shows_gpus,
    gpu_in_machine,
    init_failed,
    nvml_gpus,
    problem_with_visible,
    raw_codes,
)
from launcher.device.causes.texts import NO_GPUS
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts
from launcher.device.visibility import hides_everything


def driver_has_another_reason(facts: DeviceFacts) -> bool:
    """cuInit says something else than that there is no device, which is all that the variable brings about."""
    return not init_failed(facts, 0, NO_DEVICE)


def find_empty_list(facts: DeviceFacts) -> Evidence | None:
    listed = facts.environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None or not hides_everything(listed) or not gpu_in_machine(facts):
        return None
    return Evidence(
        title=f"CUDA_VISIBLE_DEVICES={listed!r} hides every GPU",
        lines=(f"{len(nvml_gpus(facts))} GPUs are there", *raw_codes(facts)[:1]),
    )


EMPTY = Cause(
    code="visible.empty",
    severity=Severity.warning,
    title="CUDA_VISIBLE_DEVICES hides every GPU",
    meaning="Its value is empty, -1 or another word for none.",
    fix="`unset CUDA_VISIBLE_DEVICES`",
    symptoms=(NO_GPUS,),
    find=find_empty_list,
    unless=(driver_shows_gpus, driver_has_another_reason),
    hides=("nvml.*", "gpu.mig"),
    blocks=True,
)


def find_wrong_list(facts: DeviceFacts) -> Evidence | None:
    uuids = [gpu.uuid for gpu in nvml_gpus(facts)]
    shown = len(facts.driver.gpus) if facts.driver else 0
    # NVML ignores CUDA_VISIBLE_DEVICES, so that too few GPUs under a correct list has another explanation.
    problem = problem_with_visible(facts)
    listed = facts.environment.get("CUDA_VISIBLE_DEVICES", "")
    if not problem or shown >= listed.count(",") + 1:
        return None
    return Evidence(
        title=f"CUDA_VISIBLE_DEVICES={listed!r}: {problem}",
        lines=(f"the driver shows {shown} of {len(uuids)} GPUs", *(f"GPU {i}: {u}" for i, u in enumerate(uuids))),
    )


WRONG = Cause(
    code="visible.wrong",
    severity=Severity.warning,
    title="CUDA_VISIBLE_DEVICES names what is not there",
    meaning="The driver reads the list up to the first entry that it cannot use and says nothing about it; a GPU that "
    "is named twice hides all.",
    fix="`unset CUDA_VISIBLE_DEVICES`, or list GPUs that `nvidia-smi -L` shows; the launcher's own way is "
    "device.ids=[...]",
    symptoms=(NO_GPUS, "invalid device ordinal"),
    find=find_wrong_list,
    unless=(driver_has_another_reason,),
    hides=("gpu.mig",),
)

HIDDEN = Cause(
    code="visible.hidden",
    severity=Severity.info,
    title="a GPU that this process is not shown",
    meaning="It is in the machine, but CUDA_VISIBLE_DEVICES or the driver keeps it from this process.",
    fix="nothing if that is meant; else `unset CUDA_VISIBLE_DEVICES`",
)

CAUSES = (EMPTY, WRONG, HIDDEN)
