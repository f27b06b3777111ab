from __future__ import annotations

from pathlib import Path

import pytest
import torch

from launcher.run.paths import RunPaths
from launcher.run.resume import damage_of, look_for_checkpoints


def write_checkpoint(path: Path, value: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": {"weight": torch.full((200,), value)}, "iteration": 1}, path)
    return path


def test_a_folder_without_checkpoints_has_nothing_to_resume(tmp_path: Path):
    found = look_for_checkpoints(RunPaths(tmp_path))

    assert found.newest_whole is None
    assert found.damaged == ()


def test_the_newest_is_found_by_its_iteration_not_by_a_pointer_file(tmp_path: Path):
    paths = RunPaths(tmp_path)
    for iteration in (4, 9, 12345678):
        write_checkpoint(paths.checkpoint(iteration))
    write_checkpoint(paths.final_weights)
    (paths.checkpoints / "last_checkpoint").write_text("model_0000004.pth")

    found = look_for_checkpoints(paths)

    assert found.newest_whole is not None
    assert found.newest_whole.path == str(paths.checkpoint(12345678))
    assert found.newest_whole.next_iteration == 12345679


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

    assert found.newest_whole is not None
    assert found.newest_whole.next_iteration == 5
    assert [Path(damaged.path).name for damaged in found.damaged] == ["model_0000009.pth"]


def test_torch_itself_would_load_a_flipped_weight(tmp_path: Path):
    """Why we compare checksums: if this fails, torch has begun to do it and our check may go."""
    path = write_checkpoint(tmp_path / "model_0000001.pth")
    _flip_a_weight(path)

    loaded = torch.load(path, weights_only=True)

    assert loaded["model"]["weight"].ne(1.0).any()
    assert damage_of(path) is not None
