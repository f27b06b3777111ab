"""Whether a process may fork one that continues with what is in memory."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

OWN_TASKS = Path("/proc/self/task")
OWN_MAPS = Path("/proc/self/maps")


def why_not_fork() -> str:
    """Why not, a clause; empty where a forked process can do all that this one could."""
    if sys.platform != "linux":
        return f"system libraries of {sys.platform} do not survive a fork"
    if (others := threading.active_count() - 1) > 0:
        return f"{others} thread{'' if others == 1 else 's'} of Python would be missing in it"
    if _cuda_is_used():
        return "CUDA is in use, and cannot be used in a forked process"
    if _num_threads() > 1 + _threads_of_openblas():
        return "threads of a library (OpenMP, for example) would be missing in it"
    return ""


def is_single_threaded() -> bool:
    """No thread but this one, of Python or of a library."""
    return sys.platform == "linux" and _num_threads() == 1


def _cuda_is_used() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "cuda") and bool(torch.cuda.is_initialized())


def _num_threads() -> int:
    try:
        return len(list(OWN_TASKS.iterdir()))
    except OSError:
        return threading.active_count()


def _threads_of_openblas() -> int:
    """Those of numpy and its like, which wait from import on, and which OpenBLAS starts again after a fork."""
    try:
        lines = OWN_MAPS.read_text(errors="replace").splitlines()
    except OSError:
        return 0
    libraries = {line.split(maxsplit=5)[5] for line in lines if "openblas" in line.rpartition("/")[2]}
    asked = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    each = int(asked) if asked.isdigit() and int(asked) > 0 else len(os.sched_getaffinity(0))
    return len(libraries) * max(0, each - 1)
