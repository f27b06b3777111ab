"""The GPU code that a compiled library holds."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import pytest

from launcher.device.look.gpu_code import CONTAINER, ENTRY, MAGIC, gpu_code_in

PTX, CODE = 1, 2


def library(path: Path, *containers: list[tuple[int, int]], section: bytes = b".nv_fatbin") -> Path:
    """The smallest ELF file with a section of GPU code: headers, names, containers of (kind, architecture)."""
    names = b"\0" + section + b"\0.shstrtab\0"
    code = b"".join(map(container, containers))
    names_at, code_at = 64, 64 + len(names)
    table_at = code_at + len(code)
    header = b"\x7fELF\x02\x01".ljust(40, b"\0") + struct.pack("<Q", table_at)
    header = header.ljust(58, b"\0") + struct.pack("<HHH", 64, 3, 2)
    rows = [(0, 0, 0), (1, code_at, len(code)), (2 + len(section), names_at, len(names))]
    table = b"".join(struct.pack("<I20xQQ", *row).ljust(64, b"\0") for row in rows)
    path.write_bytes(header + names + code + table)
    return path


def container(entries: list[tuple[int, int]]) -> bytes:
    body = b"".join(ENTRY.pack(kind, 0, 64, 16, architecture).ljust(64 + 16, b"\0") for kind, architecture in entries)
    return CONTAINER.pack(MAGIC, 1, CONTAINER.size, len(body)) + body


def test_code_for_several_gpus_is_listed_once_each_and_in_order(tmp_path: Path):
    path = library(tmp_path / "_C.so", [(CODE, 90), (CODE, 86), (PTX, 90)], [(CODE, 86), (CODE, 120)])

    assert gpu_code_in(path) == ("sm_86", "sm_90", "sm_120", "compute_90")


def test_a_library_without_gpu_code_has_none(tmp_path: Path):
    assert gpu_code_in(library(tmp_path / "_C.so", section=b".text_only")) == ()


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01", b"#!/bin/sh\n" * 20])
def test_what_is_no_library_tells_nothing(tmp_path: Path, content: bytes):
    (tmp_path / "_C.so").write_bytes(content)

    assert gpu_code_in(tmp_path / "_C.so") is None
    assert gpu_code_in(tmp_path / "nowhere.so") is None


def test_a_damaged_length_does_not_hold_the_reader(tmp_path: Path):
    entry = ENTRY.pack(CODE, 0, 0, 0, 86)
    path = library(tmp_path / "_C.so", [(CODE, 86)])
    path.write_bytes(path.read_bytes().replace(ENTRY.pack(CODE, 0, 64, 16, 86), entry))

    assert "sm_86" in (gpu_code_in(path) or ())


def test_torchvisions_own_library_is_read():
    found = importlib.util.find_spec("torchvision")
    folder = Path(found.origin).parent if found and found.origin else Path("nowhere")
    (path, *_) = sorted(folder.glob("_C*.so")) or pytest.skip("torchvision is not installed")
    code = gpu_code_in(path)
    if not code:
        pytest.skip("torchvision here is built without CUDA")

    assert {"sm_80", "sm_90"} <= set(code)
    assert all(name.partition("_")[0] in ("sm", "compute") for name in code)
