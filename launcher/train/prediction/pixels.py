"""What a caller may give for an image, as detectron2 wants it; for everything else how to convert it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.detection_utils import _apply_exif_orientation, convert_PIL_to_numpy, read_image
from PIL import Image

from launcher.errors import LauncherError
from launcher.process_limits import limit_reached

WANTED = "one image: a path, a PIL image, or a NumPy array of uint8 with shape (height, width, 3) in BGR"


class ImageError(LauncherError, ValueError):
    """Something that is no image as a predictor takes it. The message says how to convert it."""


def as_pixels(image: Any) -> np.ndarray:
    """Pixels, uint8 of shape (height, width, 3) in BGR.

    Raises:
        ImageError: it is something else.
        ProcessLimitError: no further file can be opened.
    """
    if isinstance(image, str | os.PathLike):
        return _read(Path(image))
    if isinstance(image, Image.Image):
        # As of a file: a camera may have noted that the image is to be turned.
        array: np.ndarray = convert_PIL_to_numpy(_apply_exif_orientation(image), "BGR")
        return array
    if isinstance(image, np.ndarray) and not _problems(image):
        return image
    raise ImageError(_explain(image))


def _read(file: Path) -> np.ndarray:
    try:
        array: np.ndarray = read_image(str(file), format="BGR")
    except Exception as error:  # what unreadable bytes raise in image libraries has no common ground
        if reached := limit_reached(error):
            raise reached from error
        why = "there is no such file" if not file.exists() else f"it cannot be read ({type(error).__name__}: {error})"
        raise ImageError(f"{file} is to be predicted on, but {why}.") from error
    return array


def _problems(array: np.ndarray) -> list[str]:
    problems = []
    if array.dtype != np.uint8:
        problems.append(f"its type is {array.dtype}, not uint8")
    if array.ndim != 3 or array.shape[2] != 3:
        problems.append(f"its shape is {array.shape}, not (height, width, 3)")
    elif 0 in array.shape:
        problems.append("it has no pixels")
    return problems


def _explain(image: Any) -> str:
    if isinstance(image, list | tuple):
        several = "For several: [predictor(one) for one in images]"
        return f"a {type(image).__name__} was given. The predictor takes {WANTED}. {several}"
    if hasattr(image, "detach"):
        how = _conversion(_as_array(image), "image.detach().cpu().numpy()")
        return f"a tensor was given. The predictor takes {WANTED}. Convert it: {how}"
    if not isinstance(image, np.ndarray):
        return f"{type(image).__name__} was given. The predictor takes {WANTED}."
    conversion = _conversion(image, "image")
    how = f" Convert it: {conversion}" if conversion else ""
    return f"an array was given, but {' and '.join(_problems(image))}. The predictor takes {WANTED}.{how}"


def _as_array(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def _conversion(array: np.ndarray, name: str) -> str:
    """An expression that makes pixels of such an array; empty where nobody knows."""
    shape, parts = list(array.shape), name
    while len(shape) > 3 and shape[0] == 1:
        parts, shape = f"{parts}[0]", shape[1:]
    if len(shape) == 4:
        return f"{parts}[0] and so on, one image in each call of {shape[0]}"
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        parts, shape = f"{parts}.transpose(1, 2, 0)", [shape[1], shape[2], shape[0]]
    if len(shape) == 2:
        parts = f"numpy.stack([{parts}] * 3, axis=-1)"
    elif len(shape) != 3 or shape[2] not in (1, 3, 4):
        return ""
    elif shape[2] != 3:
        parts = f"{parts}[:, :, :3]" if shape[2] == 4 else f"numpy.concatenate([{parts}] * 3, axis=-1)"
    return _in_bytes(array, parts)


def _in_bytes(array: np.ndarray, parts: str) -> str:
    if array.dtype == np.uint8:
        return parts
    is_fraction = array.dtype.kind == "f" and array.size and float(np.nanmax(array)) <= 1
    if array.dtype == bool or is_fraction:
        return f"({parts} * 255).round().astype('uint8')"
    if array.dtype == np.uint16:
        return f"({parts} / 257).round().astype('uint8')"
    return f"{parts}.clip(0, 255).astype('uint8')"
