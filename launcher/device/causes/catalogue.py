"""Every cause, in one order, and the groups of their codes. To add a cause, add it to the file of its topic.

The order is from the root to the leaves: of two causes that hide each other the earlier is reported, and of two that an
error's text fits equally well the earlier is named first.
"""

from __future__ import annotations

from launcher.device.causes import (
    detectron2,
    driver,
    driver_refuses,
    gpu,
    machine,
    own_code,
    running,
    several,
    surroundings,
    torch,
    torchvision,
    unexplained,
    visible,
)

TOPICS = (
    machine,
    driver,
    driver_refuses,
    gpu,
    torch,
    torchvision,
    detectron2,
    visible,
    several,
    surroundings,
    running,
    own_code,
    unexplained,
)
CAUSES = tuple(cause for topic in TOPICS for cause in topic.CAUSES)
BY_CODE = {cause.code: cause for cause in CAUSES}

GROUPS = {
    "gpu": "GPUs",
    "arch": "GPU architectures",
    "driver": "The NVIDIA driver",
    "nvml": "NVML",
    "container": "Containers",
    "scheduler": "Schedulers",
    "visible": "CUDA_VISIBLE_DEVICES",
    "torch": "torch",
    "torchvision": "torchvision",
    "detectron2": "detectron2",
    "libraries": "Other libraries",
    "mps": "Macs",
    "nccl": "Several GPUs",
    "shm": "Shared memory",
    "memory": "Memory",
    "disk": "Disk",
    "limits": "Limits of a process",
    "unexplained": "Everything else",
    "run": "Only while training",
}


def group_of(code: str) -> str:
    return code.partition(".")[0]
