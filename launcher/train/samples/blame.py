"""Whose fault it is that a sample cannot be mapped: its image's, its annotations', or neither's.

Found out by trying: what also fails with a blank image is not the image's fault, and what also fails without
annotations, and for other samples too, is that of the settings, of a mapper of somebody's own, or of what is installed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from launcher.process_limits import is_about_open_files
from launcher.train.samples.blank import OTHER_IMAGES, with_blank_image

LONGEST_REASON = 200
TARGETS = ("annotations", "proposal_boxes", "segments_info", *OTHER_IMAGES)

Map = Callable[[dict[str, Any]], object]


class Blame(Enum):
    image = "its image"
    annotations = "its annotations"
    settings = "no image at all"


def blame_for(error: Exception, record: dict[str, Any], others: Iterable[dict[str, Any]], again: Map) -> Blame:
    """Whose fault an error is that came of mapping a record; `again` maps another one in the same way."""
    if isinstance(error, ImportError):
        return Blame.settings
    if "file_name" not in record:
        return Blame.image
    with with_blank_image(record) as blank:
        if not _fails_alike(error, blank, again):
            return Blame.image
        bare = {key: value for key, value in blank.items() if key not in TARGETS}
        if not _fails_alike(error, bare, again):
            return Blame.annotations
    # A mapper of somebody's own may read other files of a sample, one of which may be damaged.
    return Blame.settings if all(_fails_alike(error, other, again) for other in others) else Blame.image


def _fails_alike(error: Exception, record: dict[str, Any], again: Map) -> bool:
    try:
        again(record)
    except Exception as other:  # whatever the first one was
        return type(other) is type(error)
    return False


def refusal_of(error: Exception) -> str:
    """What to say where no image can be mapped."""
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        named = f"the package {package}, which is not installed" if package else f"what cannot be imported ({error})"
        fix = f"pip install {package}" if package else "Install it"
        return (
            f"Samples cannot be made: what INPUT asks for, or the mapper, needs {named}. {fix}, or change that setting."
        )
    return (
        f"Samples cannot be made, whatever the image: even a blank one without annotations ends in {reason_of(error)}. "
        "Look at the settings under INPUT (INPUT.FORMAT, MIN_SIZE_*, MAX_SIZE_*, CROP, …), or at the mapper if it is "
        "your own."
    )


def is_about_the_image(error: Exception) -> bool:
    """Whether an error while an image was mapped can be the image's own, and not a lack of memory or open files."""
    is_about_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    return not is_about_memory and not is_about_open_files(error)


def reason_of(error: Exception) -> str:
    """What is wrong, in one short line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
