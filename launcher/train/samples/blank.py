"""Blank images, for mappers to read in place of others."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from typing import Any

from PIL import Image

OTHER_IMAGES = ("sem_seg_file_name", "pan_seg_file_name")
"""Under which a record names images of the same size; evaluators look up the true ones themselves."""
MOST_PIXELS = 1 << 22  # of a blank image; a larger one is a smaller one of the same shape
UNKNOWN_SIZE = 64  # pixels, for data sets that do not say how large their images are


@contextlib.contextmanager
def with_blank_image(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The record with a black image of the recorded size, or of its shape where that is too large to be read."""
    width, height = record.get("width", UNKNOWN_SIZE), record.get("height", UNKNOWN_SIZE)
    if width * height > MOST_PIXELS:
        scale = math.sqrt(MOST_PIXELS / (width * height))
        width, height = max(1, int(width * scale)), max(1, int(height * scale))
        others = {key: value for key, value in record.items() if key not in OTHER_IMAGES}
        record = {**others, "width": width, "height": height}
    # A file, because mappers read files; what else of the record they read, they get.
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.new("RGB", (width, height)).save(file, "PNG")
        file.flush()
        yield {**record, "file_name": file.name}
