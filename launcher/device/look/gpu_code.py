"""Which GPU code a compiled library holds, read from the file alone. Loads nothing, asks no driver."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SECTION = b".nv_fatbin"
# nvcc packs code into containers: a header, then per architecture an entry with its own header. Neither is
# documented; that these offsets are right is tested against torchvision's library.
CONTAINER, ENTRY = struct.Struct("<IHHQ"), struct.Struct("<HHIQ12xI")
MAGIC = 0xBA55ED50
KINDS = {1: "compute", 2: "sm"}


def gpu_code_in(library: Path) -> tuple[str, ...] | None:
    """Such as `sm_86` and `compute_90`, sorted; () for a library without GPU code, None for no readable library."""
    try:
        with open(library, "rb") as file:
            place = _section(file)
            found = set(_architectures(file, *place)) if place else set()
    except (OSError, struct.error, ValueError):
        return None
    return tuple(sorted(found, key=lambda name: (name.startswith("compute"), int(name.rpartition("_")[2]))))


def _section(file: BinaryIO) -> tuple[int, int] | None:
    """Where the section with GPU code begins and ends."""
    header = file.read(64)
    # 64 bits, little-endian: every platform that CUDA exists for.
    if header[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a library")
    (table,) = struct.unpack_from("<Q", header, 40)
    size, number, of_names = struct.unpack_from("<HHH", header, 58)
    file.seek(table)
    rows = file.read(size * number)
    sections = [struct.unpack_from("<I20xQQ", rows, size * row) for row in range(number)]
    _, offset, length = sections[of_names]
    file.seek(offset)
    names = file.read(length)
    for name, start, length in sections:
        if names[name : names.index(b"\0", name)] == SECTION:
            return start, start + length
    return None


def _architectures(file: BinaryIO, position: int, end: int) -> Iterator[str]:
    while position + CONTAINER.size <= end:
        magic, _, header, length = _unpack(file, CONTAINER, position)
        if magic != MAGIC:
            position += 8  # containers are aligned with zeros
            continue
        entry, position = position + header, position + header + length
        while entry < min(position, end):
            kind, _, header, length, architecture = _unpack(file, ENTRY, entry)
            if kind in KINDS:
                yield f"{KINDS[kind]}_{architecture}"
            # A damaged length must not hold us here for ever.
            entry += max(header + length, ENTRY.size)


def _unpack(file: BinaryIO, shape: struct.Struct, position: int) -> tuple[int, ...]:
    file.seek(position)
    return shape.unpack(file.read(shape.size))
