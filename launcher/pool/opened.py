"""Makes a pool: looks at what this machine has, and decides what jobs run on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.launch.claims import claims_folder
from launcher.pool.context import Context
from launcher.pool.gpus import look_for_devices
from launcher.pool.pool import Pool, say
from launcher.pool.settings import Asked
from launcher.pool.slots import describe_place, plan_slots


def open_pool(context: Context, asked: Asked, environ: Mapping[str, str], *, logs: Path) -> Pool:
    """A pool on this machine.

    Raises:
        DeviceUnavailableError: the devices asked for are not there.
        RequestError: an entry names no GPU of this machine, or several.
    """
    slots = plan_slots(asked, look_for_devices(asked, environ), threads=_threads_in(environ))
    if slots.notice:
        say(slots.notice)
    if not slots.gpus:
        say(f"up to {slots.size} jobs at once, each on the {describe_place((), slots.threads)}")
    return Pool(context, asked, slots, environ=environ, claims=claims_folder(), logs=logs)


def _threads_in(environ: Mapping[str, str]) -> int | None:
    text = environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
