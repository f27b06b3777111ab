"""The numbers of CUDA's runtime errors that a training meets, what each says about the GPU, and its cause's code.

From `cudaError_t` in driver_types.h of the CUDA toolkit; the words are cudaGetErrorString's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Blame(Enum):
    """What a CUDA error in the middle of a training points at."""

    gpu = "gpu"
    """The GPU, or its link to the machine: it must not be used any more."""
    unclear = "unclear"
    """The GPU, or a mistake of the program's: once can be either."""
    program = "program"
    """The program, or how it was built: the same everywhere and every time."""
    memory = "memory"


@dataclass(frozen=True, kw_only=True)
class CudaError:
    number: int
    words: str
    blame: Blame
    code: str
    """Of the cause that `launcher explain` tells about it."""


ANY_OTHER = "run.cuda_error"
# Unlike at the start: torch has computed by then, so 98 is an extension's; 100 is a GPU that has gone; 999 is anything.
CUDA_ERRORS = tuple(
    CudaError(number=number, words=words, blame=blame, code=code)
    for number, words, blame, code in (
        (2, "out of memory", Blame.memory, "run.out_of_memory"),
        (46, "busy or unavailable", Blame.gpu, "gpu.busy"),
        (98, "invalid device function", Blame.program, "detectron2.ops_arch"),
        (100, "no CUDA-capable device", Blame.gpu, "gpu.vanished"),
        (101, "invalid device ordinal", Blame.gpu, "gpu.sick"),
        (209, "no kernel image", Blame.program, "arch.not_in_wheel"),
        (214, "uncorrectable ECC error", Blame.gpu, "gpu.sick"),
        (220, "uncorrectable NVLink error", Blame.gpu, "gpu.sick"),
        (222, "PTX was compiled with an unsupported toolchain", Blame.program, "driver.ptx_too_new"),
        (226, "contained", Blame.gpu, "gpu.sick"),
        (304, "OS call failed", Blame.gpu, "driver.permission"),
        (700, "an illegal memory access", Blame.unclear, "run.illegal_access"),
        (701, "too many resources requested for launch", Blame.program, "run.launch_failure"),
        (702, "the launch timed out", Blame.unclear, "gpu.watchdog"),
        (710, "device-side assert", Blame.program, "run.assert"),
        (714, "hardware stack error", Blame.gpu, "gpu.sick"),
        (715, "an illegal instruction", Blame.unclear, "run.launch_failure"),
        (716, "misaligned address", Blame.unclear, "run.illegal_access"),
        (717, "operation not supported on global/shared address space", Blame.unclear, "run.illegal_access"),
        (718, "invalid program counter", Blame.unclear, "run.illegal_access"),
        (719, "unspecified launch failure", Blame.unclear, "run.launch_failure"),
        (802, "system not yet initialized", Blame.gpu, "driver.fabric"),
        (999, "unknown error", Blame.gpu, ANY_OTHER),
    )
)
_BY_NUMBER = {error.number: error for error in CUDA_ERRORS}


def blame_of(number: int | None) -> Blame:
    """What an error points at; one that is not in the table, or has no number, is unclear."""
    error = _BY_NUMBER.get(number) if number is not None else None
    return error.blame if error else Blame.unclear


def code_of(number: int | None) -> str:
    """The code of the cause that an error points at; the general one without a number, or for one not in the table."""
    error = _BY_NUMBER.get(number) if number is not None else None
    return error.code if error else ANY_OTHER


def number_in(text: str) -> int | None:
    """The number of the error whose words a message has; None where none fits.

    Torch before 2.8 hands over the words alone.
    """
    return next((error.number for error in CUDA_ERRORS if error.words in text), None)
