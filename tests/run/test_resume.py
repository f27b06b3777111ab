from __future__ import annotations

import zlib
from pathlib import Path

import pytest
import torch

from launcher.run.manifest import Manifest, Milestone, manifest_path, manifest_text
from launcher.run.paths import RunPaths
from launcher.run.resume import damage_of, look_for_checkpoints, rename_damaged


def write_checkpoint(path: Path, value: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": {"weight": torch.full((200,), value)}, "iteration": 1}, path)
    return path


def test_a_folder_without_checkpoints_has_nothing_to_resume(tmp_path: Path):
    found = look_for_checkpoints(RunPaths(tmp_path))

    assert found.newest_valid is None
    assert found.damaged == ()


def test_the_newest_is_found_by_its_iteration_not_by_a_pointer_file(tmp_path: Path):
    paths = RunPaths(tmp_path)
    for iteration in (4, 9, 12345678):
        write_checkpoint(paths.checkpoint(iteration))
    write_checkpoint(paths.final_weights)
    (paths.checkpoints / "last_checkpoint").write_text("model_0000004.pth")

    found = look_for_checkpoints(paths)

    assert found.newest_valid is not None
    assert found.newest_valid.path == str(paths.checkpoint(12345678))
    assert found.newest_valid.next_iteration == 12345679


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip_a_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    position = content.index(bytes.fromhex("0000803f" * 8))  # eight times 1.0 as little-endian float32
    content[position + 1] ^= 1
    path.write_bytes(bytes(content))


def _replace_by_text(path: Path) -> None:
    path.write_text("not a checkpoint")


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip_a_weight, _replace_by_text])
def test_a_damaged_newest_checkpoint_is_skipped_for_the_one_before(tmp_path: Path, damage):
    paths = RunPaths(tmp_path)
    write_checkpoint(paths.checkpoint(4))
    damage(write_checkpoint(paths.checkpoint(9)))

    found = look_for_checkpoints(paths)

    assert found.newest_valid is not None
    assert found.newest_valid.next_iteration == 5
    assert [Path(damaged.path).name for damaged in found.damaged] == ["model_0000009.pth"]


def test_damaged_checkpoints_are_renamed_and_a_second_time_too(tmp_path: Path):
    paths = RunPaths(tmp_path)
    write_checkpoint(paths.checkpoint(4))
    for _ in range(2):
        _truncate(write_checkpoint(paths.checkpoint(9)))
        manifest_path(paths.checkpoint(9)).write_text("{}")
        looked = look_for_checkpoints(paths)
        assert paths.checkpoint(9).exists()  # looking changes nothing
        rename_damaged(looked.damaged)

    assert sorted(path.name for path in paths.checkpoints.iterdir()) == [
        "model_0000004.pth",
        "model_0000009.pth.damaged",
        "model_0000009.pth.damaged.2",
    ]
    assert look_for_checkpoints(paths).damaged == ()


def test_the_manifest_comes_with_the_checkpoint_to_resume_from(tmp_path: Path):
    paths = RunPaths(tmp_path)
    path = write_checkpoint(paths.checkpoint(9))
    content = path.read_bytes()
    manifest = Manifest(milestone=Milestone(iteration=9, images_seen=160), size=len(content), crc32=zlib.crc32(content))
    manifest_path(path).write_text(manifest_text(manifest))

    found = look_for_checkpoints(paths).newest_valid

    assert found is not None
    assert found.manifest == manifest


def test_a_file_that_is_not_the_one_its_manifest_describes_is_damaged(tmp_path: Path):
    path = write_checkpoint(tmp_path / "model_0000009.pth")
    content = path.read_bytes()
    for size, crc32, problem in ((len(content), 0, "checksum differs"), (3, zlib.crc32(content), "instead of 3")):
        manifest = Manifest(milestone=Milestone(iteration=9), size=size, crc32=crc32)
        manifest_path(path).write_text(manifest_text(manifest))

        assert problem in (damage_of(path) or "")


def test_torch_itself_would_load_a_flipped_weight(tmp_path: Path):
    """Why we compare checksums: if this fails, torch has begun to do it and our check may go."""
    path = write_checkpoint(tmp_path / "model_0000001.pth")
    _flip_a_weight(path)

    loaded = torch.load(path, weights_only=True)

    assert loaded["model"]["weight"].ne(1.0).any()
    assert damage_of(path) is not None
