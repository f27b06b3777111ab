"""What keeps torchvision, whose operators every detector needs, from working with this torch."""

from __future__ import annotations

import re

from launcher.device.causes.cause import Cause, Evidence
from launcher.device.causes.evidence import died_importing, how_it_ended, smoke_lines
from launcher.device.causes.gpu import SICK_CODES
from launcher.device.causes.texts import BOTH_AT_ONCE
from launcher.device.causes.torch import NO_TORCHVISION
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import GpuView

OTHER_TORCH_ERROR = re.compile(
    r"operator torchvision::nms does not exist|different CUDA (major )?versions|undefined symbol"
)


def find_other_torch(facts: DeviceFacts) -> Evidence | None:
    error = facts.torch.torchvision_error if facts.torch else ""
    if not OTHER_TORCH_ERROR.search(error):
        return None
    return Evidence(lines=(f"torch {facts.packages.torch}, torchvision {facts.packages.torchvision}", error))


OTHER_TORCH = Cause(
    code="torchvision.other_torch",
    title="this torchvision was built for another torch",
    meaning="torch and torchvision come in pairs of versions, and for the same CUDA.",
    fix=BOTH_AT_ONCE,
    symptoms=(
        "operator torchvision::nms does not exist",
        "Detected that PyTorch and torchvision were compiled with different CUDA",
        "torchvision/_C…undefined symbol",
    ),
    find=find_other_torch,
    hides=NO_TORCHVISION,
    fatal=True,
)


def find_broken(facts: DeviceFacts) -> Evidence | None:
    error = facts.torch.torchvision_error if facts.torch else ""
    if not facts.packages.torchvision:
        error = "torchvision is not installed"
    died = facts.torch is not None and died_importing(facts, "import torchvision")
    if not (error or died) or not facts.packages.torch:
        return None
    return Evidence(lines=(error or (how_it_ended(facts.torch.end) if facts.torch else ""),))


BROKEN = Cause(
    code="torchvision.broken",
    title="torchvision is not installed or does not import",
    meaning="detectron2 needs torchvision's operators.",
    fix=BOTH_AT_ONCE,
    symptoms=("No module named 'torchvision'", "Couldn't load custom C++ ops"),
    find=find_broken,
    hides=NO_TORCHVISION,
    fatal=True,
)


def nms_is_there(facts: DeviceFacts) -> bool:
    """torchvision has registered it for CUDA."""
    return facts.torch is not None and facts.torch.nms_on_cuda is True


def find_without_cuda(facts: DeviceFacts) -> Evidence | None:
    packages = facts.packages
    tried = facts.torch.nms_on_cuda if facts.torch else None
    # Some versions say it in their name, so that it is known before torch is imported.
    if not packages.torch_cuda or not (tried is False or packages.torchvision.endswith("+cpu")):
        return None
    return Evidence(
        lines=(f"torchvision {packages.torchvision}, torch {packages.torch}", "no CUDA kernel for nms"),
    )


CPU_ONLY = Cause(
    code="torchvision.cpu_only",
    title="this torchvision is built without CUDA, torch with it",
    meaning="Detection needs torchvision's nms on the GPU, and this build has it for the CPU only.",
    fix=BOTH_AT_ONCE,
    symptoms=("Could not run 'torchvision::nms' with arguments from the 'CUDA' backend",),
    find=find_without_cuda,
    unless=(nms_is_there,),
    hides=("torchvision.nms_fails",),
    blocks=True,
)


def find_failing_nms(facts: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if gpu.smoke is None or gpu.smoke.failed != "nms" or gpu.smoke.code in SICK_CODES:
        return None
    return Evidence(
        title="computes, but torchvision's nms, which every detector needs, fails on it",
        lines=(f"torchvision {facts.packages.torchvision}, torch {facts.packages.torch}", *smoke_lines(gpu)),
    )


NMS_FAILS = Cause(
    code="torchvision.nms_fails",
    title="torchvision's nms fails on the GPU",
    meaning="torch computes on this GPU, torchvision's operator does not: it has no code for it, or is broken.",
    fix=BOTH_AT_ONCE,
    find_on_gpu=find_failing_nms,
)

CAUSES = (OTHER_TORCH, BROKEN, CPU_ONLY, NMS_FAILS)
