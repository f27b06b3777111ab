"""Processes on a GPU, for people."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.device.facts import GpuProcess


def named(processes: tuple[GpuProcess, ...], at_most: int = 3) -> str:
    """`python (pid 12, 300 MiB)`."""
    shown = [f"{process.command or 'a process'} ({', '.join(_about(process))})" for process in processes[:at_most]]
    return ", ".join(shown) + (f" and {len(processes) - at_most} more" if len(processes) > at_most else "")


def _about(process: GpuProcess) -> Iterator[str]:
    yield f"pid {process.pid}"
    if process.user:
        yield f"of {process.user}"
    if process.memory_mib is not None:
        yield f"{process.memory_mib} MiB"
