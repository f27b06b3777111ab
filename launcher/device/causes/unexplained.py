"""What is reported where no other cause fits."""

from __future__ import annotations

from launcher.device.causes.cause import Cause, Evidence
from launcher.device.causes.evidence import raw_codes, smoke_lines
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import GpuView


def what_was_seen(facts: DeviceFacts) -> Evidence:
    system = facts.system
    overview = (
        f"driver {system.driver_loaded or 'unknown'}, torch {facts.packages.torch}, "
        f"{len(system.pci_gpus)} GPUs on the PCI bus, {len(system.device_nodes)} device nodes"
    )
    return Evidence(lines=(overview, *raw_codes(facts)))


def find_failing_gpu(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if gpu.smoke is None or not gpu.smoke.failed:
        return None
    return Evidence(
        title=f"fails the stage `{gpu.smoke.failed}` of the smoke test",
        lines=smoke_lines(gpu),
        fix="run `launcher doctor --json` and search for the error text",
    )


UNEXPLAINED = Cause(
    code="unexplained",
    title="the GPUs cannot be used, and no known cause fits",
    meaning="GPUs are there and cannot be used, and no known cause fits. The raw answers are the evidence.",
    fix="`launcher doctor --json` has all that was seen, for a report; `nvidia-smi` and `sudo dmesg | grep -i nvrm` "
    "may say more",
    find_on_gpu=find_failing_gpu,
)

CAUSES = (UNEXPLAINED,)
