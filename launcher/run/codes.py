"""The codes of what ends an attempt, as `launcher explain` takes them. One vocabulary with the doctor's codes."""

from __future__ import annotations

from launcher import process_limits
from launcher.device.cuda_codes import CUDA_ERRORS, code_of

NONE = ""
"""Nothing failed."""
OUT_OF_MEMORY = "run.out_of_memory"
"""The GPU's memory."""
HOST_MEMORY = "run.host_memory"
"""The machine's memory, or that of its control group."""
LOADER_KILLED = "run.loader_killed"
PROCESSES, OPEN_FILES = process_limits.PROCESSES, process_limits.OPEN_FILES
"""The system lets no further process start, or no further file be opened."""
SHARED_MEMORY = "shm.small"
"""/dev/shm is full."""
CRASH = "run.crash"
KILLED = "run.killed"
HANG = "run.hang"
DIVERGED = "run.diverged"
INTERRUPTED = "run.interrupted"
DISK_FULL = "run.disk_full"
WEIGHTS_UNAVAILABLE = "run.weights_unavailable"
CHECKPOINT_GONE = "run.checkpoint_gone"
UNREADABLE_IMAGES = "run.unreadable_images"
"""Of a prediction: all others are done."""
NODE = "run.node"
"""A node did not come, cannot do its part, or does not reach the others."""
FAILED = "run.failed"
"""Any other exception."""

DEVICE = frozenset({*(error.code for error in CUDA_ERRORS), code_of(None)}) - {OUT_OF_MEMORY}
"""CUDA, or a library on top of it, returned an error that is not about memory."""
