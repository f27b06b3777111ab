"""The index of one annotation file as a value, and as a file: a header in JSON, arrays, a digest over all of it."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cattrs import BaseValidationError

from launcher.config.values import from_plain, to_plain
from launcher.data.coco_file import FileFacts
from launcher.data.listed_image import ListedImage
from launcher.files import replacing

_MAGIC = b"D2LINDEX"
_FORMAT = 1
_DIGEST_SIZE = hashlib.sha256().digest_size
_ALIGNMENT = 64
IS_CROWD = 1
"""Flag of an annotation: detectron2 does not train on it."""
IS_DROPPED = 2
"""Flag of an annotation: detectron2's loader leaves it out, none of its polygons has three points."""


class DamagedIndexError(ValueError):
    """The file is no index, is cut off, has been changed, or is another one than asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageColumns:
    """One of each for every image, in detectron2's order: by id."""

    id: np.ndarray
    start: np.ndarray
    """Of its entry in the file, in bytes, like `length`."""
    length: np.ndarray
    crc: np.ndarray
    """CRC-32 of its entry."""
    width: np.ndarray
    height: np.ndarray
    num_visible: np.ndarray
    """Visible keypoints of all its annotations."""
    end: np.ndarray
    """Behind its annotations, among all of them; they begin where those of the image before end."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotationColumns:
    """One of each for every annotation: image after image, and in the order of the file."""

    start: np.ndarray
    length: np.ndarray
    crc: np.ndarray
    category: np.ndarray
    """Contiguous, as detectron2 numbers them."""
    flags: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Where the entries of a file are, and what samplers need to know of each."""

    images: ImageColumns
    annotations: AnnotationColumns

    def begins(self) -> np.ndarray:
        """Of each image, the place of its first annotation, and behind them the number of all."""
        return np.concatenate([[0], self.images.end])


_COLUMNS = {
    "images.id": "<i8",
    "images.start": "<i8",
    "images.length": "<i4",
    "images.crc": "<u4",
    "images.width": "<i4",
    "images.height": "<i4",
    "images.num_visible": "<i4",
    "images.end": "<i8",
    "annotations.start": "<i8",
    "annotations.length": "<i4",
    "annotations.crc": "<u4",
    "annotations.category": "<i4",
    "annotations.flags": "|u1",
}
_TYPES = {"listed": "|u1", **_COLUMNS}


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """Everything that a launcher or a worker needs of an annotation file without reading it."""

    content: str
    """Digest of the annotation file."""
    content_size: int
    facts: FileFacts
    columns: Columns | None
    """None where detectron2's loader must read the file."""
    unusable: str
    """Why there are none."""
    listed: bytes | memoryview
    """What the file says of its images, for `listed_images`."""


def pack_listed(images: Sequence[ListedImage]) -> bytes:
    """What `listed_images` unpacks."""
    return json.dumps(images).encode()


def listed_images(index: Index) -> Sequence[ListedImage]:
    """The images that have a file name, as the file lists them."""
    try:
        return msgspec.json.decode(index.listed, type=list[ListedImage])
    except msgspec.MsgspecError:  # Infinity, or half a letter, which only Python takes
        return [ListedImage(*one) for one in json.loads(bytes(index.listed))]


def write_index(index: Index, path: Path) -> None:
    """Write beside, sync and rename.

    Raises:
        OSError: it cannot be written.
    """
    arrays = _arrays(index)
    header = _header(index, arrays)
    with replacing(path, mode=0o600) as file:
        digest = hashlib.sha256()
        for part in _parts(header, arrays):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())


def _arrays(index: Index) -> dict[str, np.ndarray]:
    arrays = {"listed": np.frombuffer(index.listed, np.uint8)}
    if index.columns is not None:
        arrays |= {name: attrgetter(name)(index.columns).astype(kind) for name, kind in _COLUMNS.items()}
    return arrays


def _header(index: Index, arrays: Mapping[str, np.ndarray]) -> bytes:
    described = {
        "format": _FORMAT,
        "content": index.content,
        "content_size": index.content_size,
        "unusable": index.unusable,
        "facts": to_plain(index.facts),
        "arrays": {name: len(array) for name, array in arrays.items()},
    }
    return json.dumps(described).encode()


def _parts(header: bytes, arrays: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    yield _MAGIC + len(header).to_bytes(8, "little") + header
    place = len(_MAGIC) + 8 + len(header)
    for array in arrays.values():
        yield bytes(-place % _ALIGNMENT)
        yield array.tobytes()
        place += -place % _ALIGNMENT + array.nbytes


def read_index(path: Path, content: str) -> Index:
    """Map an index into memory, once every byte of it has been compared with its digest.

    Raises:
        OSError: it is not there, or not readable.
        DamagedIndexError: it is not the index of that content as it was written, or somebody else may have written it.
    """
    whole = _mapped(path)
    if hashlib.sha256(memoryview(whole)[:-_DIGEST_SIZE]).digest() != whole[-_DIGEST_SIZE:]:
        raise DamagedIndexError(f"{path} is damaged")
    try:
        index = _read(whole)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BaseValidationError) as error:
        raise DamagedIndexError(f"{path} is no index ({type(error).__name__}: {error})") from error
    if index.content != content:
        raise DamagedIndexError(f"{path} is of another file")
    return index


def _mapped(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        there = os.fstat(descriptor)
        if not stat.S_ISREG(there.st_mode) or there.st_uid != os.getuid() or there.st_mode & 0o022:
            raise DamagedIndexError(f"{path} can be written by others")
        if there.st_size < len(_MAGIC) + 8 + _DIGEST_SIZE:
            raise DamagedIndexError(f"{path} is cut off")
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def _read(whole: mmap.mmap) -> Index:
    place = len(_MAGIC) + 8
    if whole[: len(_MAGIC)] != _MAGIC:
        raise ValueError("it begins otherwise")
    end = place + int.from_bytes(whole[len(_MAGIC) : place], "little")
    header = json.loads(whole[place:end])
    if header["format"] != _FORMAT:
        raise ValueError(f"its format is {header['format']}")
    arrays = dict(_views(whole, end, header["arrays"]))
    listed = arrays.pop("listed").data
    columns = _columns(arrays) if arrays else None
    if columns is not None:
        _check(columns, header["content_size"])
    return Index(
        content=header["content"],
        content_size=header["content_size"],
        facts=from_plain(FileFacts, header["facts"]),
        columns=columns,
        unusable=header["unusable"],
        listed=listed,
    )


def _views(whole: mmap.mmap, place: int, counts: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    for name, count in counts.items():
        kind = np.dtype(_TYPES[name])
        place += -place % _ALIGNMENT
        yield name, np.frombuffer(whole, kind, count, place)
        place += count * kind.itemsize
    if place != len(whole) - _DIGEST_SIZE:
        raise ValueError("it is longer or shorter than it says")


def _columns(arrays: Mapping[str, np.ndarray]) -> Columns:
    images = ImageColumns(**{field.name: arrays[f"images.{field.name}"] for field in fields(ImageColumns)})
    annotations = AnnotationColumns(
        **{field.name: arrays[f"annotations.{field.name}"] for field in fields(AnnotationColumns)}
    )
    return Columns(images=images, annotations=annotations)


def _check(columns: Columns, content_size: int) -> None:
    """That nothing points out of the file or of an array, whoever wrote it."""
    begins = columns.begins()
    fits = begins[-1] == len(columns.annotations.start) and bool((np.diff(begins) >= 0).all())
    for table in (columns.images, columns.annotations):
        fits = fits and len({len(getattr(table, field.name)) for field in fields(table)}) == 1
        fits = fits and bool((table.start >= 0).all() and (table.length > 0).all())
        fits = fits and bool((table.start + table.length <= content_size).all())
    if not fits:
        raise ValueError("its columns do not fit each other")
