"""Opens image files, all of each, and says what is in them. Judges nothing: see `opened.py`."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from launcher.data.image_files import EXIF_ORIENTATION
from launcher.errors import DataError
from launcher.forking import num_cpus
from launcher.process_limits import is_about_open_files, naming_limits

_PER_TASK = 16
"""Images that a process opens before it answers."""
_FEWEST_PER_PROCESS = 32
_SIDE = 9
"""Pixels, of the small copy whose differences are an image's look."""
_FLAT = 3.0
"""Grey values: an image that varies by less looks like any other of its kind."""


class OpenedImage(NamedTuple):
    """What is in one image file."""

    problem: str = ""
    """Why it cannot be read to its end, empty where it can."""
    is_missing: bool = False
    is_too_large: bool = False
    """More pixels than Pillow opens."""
    mode: str = ""
    """Pillow's."""
    size: tuple[int, int] = (0, 0)
    """Width and height as stored."""
    orientation: int = 1
    """EXIF's: 1 for an image that is shown as stored."""
    pixels: bytes = b""
    """Digest of size, mode and pixels."""
    look: bytes = b""
    """Where a small copy gets brighter, rightwards and downwards, in 128 bits; empty for a flat image."""


def open_images(
    paths: Sequence[str], *, num_processes: int | None = None, note: Callable[[int], None] = lambda _: None
) -> list[OpenedImage]:
    """Open all, on all cores; `note` gets the number of those done now and then.

    Raises:
        DataError: a process that opened some was killed.
        ProcessLimitError: no further file or process is allowed.
    """
    most = num_processes or min(num_cpus(), 1 + len(paths) // _FEWEST_PER_PROCESS)
    opened: list[OpenedImage] = []
    try:
        with naming_limits(), _processes(most) as pool:
            for part in _mapped(pool, [paths[at : at + _PER_TASK] for at in range(0, len(paths), _PER_TASK)]):
                opened += part
                note(len(opened))
    except BrokenProcessPool as error:
        raise DataError(
            f"A process that opened images near {paths[min(len(opened), len(paths) - 1)]} was killed: too little "
            "memory, or a file that crashes Pillow. To check without opening images, add --no-images."
        ) from error
    return opened


@contextlib.contextmanager
def _processes(most: int) -> Iterator[Executor | None]:
    """A pool, or none where this process is enough."""
    if most == 1 or sys.platform != "linux":
        yield None
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(most, context, initializer=_leave_interrupts_to_the_parent) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _mapped(pool: Executor | None, parts: Sequence[Sequence[str]]) -> Iterator[list[OpenedImage]]:
    return map(_open_all, parts) if pool is None else pool.map(_open_all, parts)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open_all(paths: Sequence[str]) -> list[OpenedImage]:
    return [open_image(path) for path in paths]


def open_image(path: str) -> OpenedImage:
    """Read one image to its end.

    Raises:
        OSError: no further file can be opened, which says nothing about this one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return _seen(image)
    except (FileNotFoundError, IsADirectoryError):
        return OpenedImage(problem="there is no such file", is_missing=True)
    except Image.DecompressionBombError as error:
        return OpenedImage(problem=str(error), is_too_large=True)
    except Exception as error:  # a format's reader raises anything at a damaged file
        if is_about_open_files(error):
            raise
        return OpenedImage(problem=_reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow knows"
    return str(error) or type(error).__name__


def _seen(image: Image.Image) -> OpenedImage:
    orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    image.load()
    digest = hashlib.blake2b(f"{image.mode} {image.size}".encode(), digest_size=16)
    digest.update(image.tobytes())
    return OpenedImage(
        mode=image.mode,
        size=image.size,
        orientation=orientation if orientation in range(1, 9) else 1,
        pixels=digest.digest(),
        look=_look(image),
    )


def _look(image: Image.Image) -> bytes:
    small = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.int16)
    if small.std() < _FLAT:
        return b""
    rightwards, downwards = small[:-1, 1:] > small[:-1, :-1], small[1:, :-1] > small[:-1, :-1]
    return np.packbits(np.concatenate([rightwards.ravel(), downwards.ravel()])).tobytes()
