from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from launcher.run.paths import RunPaths
from launcher.run.resume import look_for_checkpoints
from launcher.train.checkpoint import WholeCheckpointer, name_final, save_iteration


def checkpointer_in(paths: RunPaths, value: float) -> WholeCheckpointer:
    paths.checkpoints.mkdir(parents=True, exist_ok=True)
    model = torch.nn.Linear(4, 4)
    torch.nn.init.constant_(model.weight, value)
    return WholeCheckpointer(model, str(paths.checkpoints))


def test_a_saved_checkpoint_is_found_whole_and_loads_back(tmp_path: Path):
    paths = RunPaths(tmp_path)

    save_iteration(checkpointer_in(paths, 2.0), paths, 41)

    found = look_for_checkpoints(paths).newest_whole
    assert found is not None
    assert found.next_iteration == 42
    other = checkpointer_in(paths, 0.0)
    other.load(found.path)
    assert other.model.weight.eq(2.0).all()
    assert (paths.checkpoints / "last_checkpoint").read_text() == "model_0000041.pth"  # for detectron2's own tools


def test_a_save_that_fails_leaves_the_older_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = RunPaths(tmp_path)
    save_iteration(checkpointer_in(paths, 2.0), paths, 41)
    before = paths.checkpoint(41).read_bytes()

    def disk_full(_: object, file) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_iteration(checkpointer_in(paths, 3.0), paths, 41)

    assert paths.checkpoint(41).read_bytes() == before
    assert sorted(path.name for path in paths.checkpoints.iterdir()) == ["last_checkpoint", "model_0000041.pth"]


def test_the_final_name_follows_the_last_checkpoint(tmp_path: Path):
    paths = RunPaths(tmp_path)
    for iteration, value in ((9, 1.0), (19, 5.0)):
        name_final(save_iteration(checkpointer_in(paths, value), paths, iteration), paths)

    assert torch.load(paths.final_weights)["model"]["weight"].eq(5.0).all()
    assert torch.load(paths.checkpoint(9))["model"]["weight"].eq(1.0).all()
