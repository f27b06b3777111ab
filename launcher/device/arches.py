"""Which GPUs can run which GPU code. Facts about NVIDIA's architectures, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Jetson's own numbers: code for the desktop chips of the same generation did not run there before CUDA 13.2.
JETSON = frozenset({(5, 3), (6, 2), (7, 2), (8, 7)})
# Thor was 10.1 before CUDA 13 renamed it to 11.0.
RENAMED = {(10, 1): (11, 0)}


def runs_on(architectures: Iterable[str], capability: tuple[int, int], cuda: str = "") -> bool:
    """Whether one of `sm_86`, `compute_90`, ... serves a GPU of this compute capability."""
    return any(_serves(architecture, capability, cuda) for architecture in architectures)


def _serves(architecture: str, capability: tuple[int, int], cuda: str) -> bool:
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", architecture)
    if found is None:
        # A spelling that we do not know is no reason to turn a GPU away; the smoke test decides.
        return True
    code = (int(found[2]), int(found[3]))
    gpu = RENAMED.get(capability, capability)
    code = RENAMED.get(code, code)
    if found[1] == "compute":
        return gpu >= code
    if gpu in JETSON and gpu != code and cuda_version(cuda) < (13, 2):
        return False
    return gpu[0] == code[0] and gpu[1] >= code[1]


def cuda_version(text: str) -> tuple[int, int]:
    """(13, 2) for `13.2`; (0, 0) for what is no version."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
