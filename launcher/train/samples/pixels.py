"""Reading images of more than 8 bits per value, which Pillow would make all white or all black.

Wherever detectron2's `read_image` reads: for training, evaluation, and drawing alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from detectron2.data import detection_utils
from PIL import Image

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's, of one value per pixel; it reads colour images of 16 bits per value with the upper 8 of them."""
LABELS = "L"
"""The format in which detectron2 reads the labels of semantic segmentation: numbers, which must stay as they are."""
NOTES = "pixel_notes"
"""The key under which a sample for evaluation says how its image was scaled."""

_theirs = detection_utils.convert_PIL_to_numpy
_notes: dict[str, str] = {}


class UnclearPixelsError(ValueError):
    """Nothing says which value is white."""


def read_deep_pixels(image_format: str) -> None:
    """Let this process read such images, where INPUT.FORMAT is that. For good: one run, one process."""
    detection_utils.convert_PIL_to_numpy = partial(_convert, image_format)


def take_notes() -> Mapping[str, str]:
    """How images were scaled since this was last asked, by their kind."""
    taken = dict(_notes)
    _notes.clear()
    return taken


def _convert(image_format: str, image: Image.Image, format: str | None) -> np.ndarray:
    if image.mode in DEEP_MODES and format is not None:
        values = np.asarray(image)
        image = _labels(values) if format == LABELS != image_format else in_eight_bits(values)
    array: np.ndarray = _theirs(image, format)
    return array


def _labels(values: np.ndarray) -> Image.Image:
    if values.size and (values.min() < 0 or values.max() > 255):
        raise UnclearPixelsError(f"labels go from {values.min():g} to {values.max():g}, but must be from 0 to 255")
    return Image.fromarray(values.astype(np.uint8))


def in_eight_bits(values: np.ndarray) -> Image.Image:
    """The image in 8 bits, scaled by its type and never by its content, so that equal values stay equal.

    Integers from 0 to 65535 are divided by 257, numbers from 0 to 1 multiplied by 255, others from 0 to 255 taken as
    they are.

    Raises:
        UnclearPixelsError: there are other values.
    """
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    kind, white = _white_of(values.dtype.kind == "f", low, high)
    scaled = np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8)
    brightest = scaled.max(initial=0)
    _notes[kind] = f"{kind}: 0 to {white:g} become 0 to 255; its brightest value is {high:g}, which becomes {brightest}"
    return Image.fromarray(scaled)


def _white_of(is_float: bool, low: float, high: float) -> tuple[str, float]:
    if is_float and low >= 0 and high <= 255:
        return "float image", 1.0 if high <= 1 else 255.0
    if not is_float and low >= 0 and high <= 65535:
        return "16-bit image", 65535.0
    raise UnclearPixelsError(
        f"pixels are {'floats' if is_float else 'integers'} from {low:g} to {high:g}; which value is white? "
        "Save it with 8 or 16 bits per pixel, or as floats from 0 to 1"
    )


def told_once(notes: Mapping[str, str], told: set[str]) -> list[str]:
    """The notes on kinds that are not among those told already, which then are."""
    new = [note for kind, note in notes.items() if kind not in told]
    told.update(notes)
    return new
