"""Reads the entries of single images from an annotation file, where its index says they are."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

from launcher.data.index.columns import Columns


class FileChangedError(Exception):
    """The annotation file is no longer what it was when its index was made."""


class EntryReader:
    """The entries of an annotation file by the place of their image in detectron2's order.

    The file is not mapped: a mapping of a file that shrinks ends the process that looks at it.
    """

    def __init__(self, file: Path, columns: Columns) -> None:
        self._file = file
        self._columns = columns
        self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if (descriptor := getattr(self, "_descriptor", -1)) >= 0:
            os.close(descriptor)

    def read(self, place: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """One image and its annotations, as `json` decodes them.

        Raises:
            FileChangedError: the file is another one by now.
        """
        images, annotations = self._columns.images, self._columns.annotations
        part = slice(int(images.end[place - 1]) if place else 0, int(images.end[place]))
        pieces = [self._piece(images.start[place], images.length[place], images.crc[place])]
        pieces += map(self._piece, annotations.start[part], annotations.length[part], annotations.crc[part])
        image, *entries = json.loads(b"[" + b",".join(pieces) + b"]")
        return image, entries

    def _piece(self, start: Any, length: Any, checksum: Any) -> bytes:
        piece = os.pread(self._descriptor, int(length), int(start))
        if len(piece) != length or zlib.crc32(piece) != checksum:
            raise FileChangedError(
                f"{self._file} has changed since it was indexed, so the annotations of this image are not to be found. "
                "Put the file back, or train on the new one as another run."
            )
        return piece
