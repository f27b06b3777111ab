"""The numbers of CUDA's runtime errors that a training meets, and what each says about the GPU.

From `cudaError_t` in driver_types.h of the CUDA toolkit; the words are cudaGetErrorString's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Blame(Enum):
    """What a CUDA error in the middle of a training points at."""

    gpu = "gpu"
    """The GPU, or its link to the machine: it is not to be trusted any more."""
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


CUDA_ERRORS = tuple(
    CudaError(number=number, words=words, blame=blame)
    for number, words, blame in (
        (2, "out of memory", Blame.memory),
        (46, "busy or unavailable", Blame.gpu),
        (98, "invalid device function", Blame.program),
        (100, "no CUDA-capable device", Blame.gpu),
        (101, "invalid device ordinal", Blame.gpu),
        (209, "no kernel image", Blame.program),
        (214, "uncorrectable ECC error", Blame.gpu),
        (220, "uncorrectable NVLink error", Blame.gpu),
        (226, "contained", Blame.gpu),
        (304, "OS call failed", Blame.gpu),
        (700, "an illegal memory access", Blame.unclear),
        (702, "the launch timed out", Blame.unclear),
        (710, "device-side assert", Blame.program),
        (714, "hardware stack error", Blame.gpu),
        (715, "an illegal instruction", Blame.unclear),
        (716, "misaligned address", Blame.unclear),
        (717, "operation not supported on global/shared address space", Blame.unclear),
        (718, "invalid program counter", Blame.unclear),
        (719, "unspecified launch failure", Blame.unclear),
        (802, "system not yet initialized", Blame.gpu),
        (999, "unknown error", Blame.gpu),
    )
)
_BY_NUMBER = {error.number: error for error in CUDA_ERRORS}


def blame_of(number: int | None) -> Blame:
    """What an error points at; one that is not in the table, or has no number, is unclear."""
    error = _BY_NUMBER.get(number) if number is not None else None
    return error.blame if error else Blame.unclear


def number_in(text: str) -> int | None:
    """The number of the error whose words a message has; None where none fits.

    Torch before 2.8 hands over the words alone.
    """
    return next((error.number for error in CUDA_ERRORS if error.words in text), None)
