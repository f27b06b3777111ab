from __future__ import annotations

import errno
import os
import random
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from launcher.run.manifest import Milestone, manifest_path, read_manifest
from launcher.run.paths import RunPaths
from launcher.run.resume import damage_of, look_for_checkpoints
from launcher.train.checkpoints.checkpoint import (
    SafeCheckpointer,
    clear_leftovers,
    link_or_copy,
    name_final,
    write_checkpoint,
)
from launcher.train.checkpoints.snapshot import Snapshot, as_plain


def checkpointer_in(paths: RunPaths, value: float) -> SafeCheckpointer:
    paths.checkpoints.mkdir(parents=True, exist_ok=True)
    model = torch.nn.Linear(4, 4)
    torch.nn.init.constant_(model.weight, value)
    return SafeCheckpointer(model, str(paths.checkpoints))


def save_iteration(checkpointer: SafeCheckpointer, paths: RunPaths, iteration: int) -> Path:
    path = paths.checkpoint(iteration)
    write_checkpoint(checkpointer.state(iteration=iteration), path, Milestone(iteration=iteration))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_saved_checkpoint_is_found_valid_and_loads_back(tmp_path: Path):
    paths = RunPaths(tmp_path)

    save_iteration(checkpointer_in(paths, 2.0), paths, 41)

    found = look_for_checkpoints(paths).newest_valid
    assert found is not None
    assert found.next_iteration == 42
    other = checkpointer_in(paths, 0.0)
    other.load(found.path)
    assert other.model.weight.eq(2.0).all()
    assert (paths.checkpoints / "last_checkpoint").read_text() == "model_0000041.pth"  # for detectron2's own tools


def test_the_manifest_beside_says_which_state_it_is(tmp_path: Path):
    path = tmp_path / "model_0000009.pth"
    milestone = Milestone(
        iteration=9, images_seen=160, world_size=2, config_fingerprint="abc", versions={"torch": "2.4.0"}
    )

    write_checkpoint({"model": {}}, path, milestone)

    manifest = read_manifest(path)
    assert manifest is not None
    assert manifest.milestone == milestone
    assert manifest.size == path.stat().st_size


@pytest.mark.parametrize("kind", ["write", "fsync", "replace"])
def test_a_save_that_fails_leaves_the_older_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    paths = RunPaths(tmp_path)
    save_iteration(checkpointer_in(paths, 2.0), paths, 41)
    before = paths.checkpoint(41).read_bytes()

    def disk_full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, kind, disk_full)
        with pytest.raises(OSError, match="No space left"):
            save_iteration(checkpointer_in(paths, 3.0), paths, 41)

    assert paths.checkpoint(41).read_bytes() == before
    assert damage_of(paths.checkpoint(41)) is None
    assert not [name for name in names_in(paths.checkpoints) if name.startswith(".")]


def test_what_killed_attempts_left_half_written_is_removed(tmp_path: Path):
    write_checkpoint({"model": {}}, tmp_path / "model_0000009.pth", Milestone(iteration=9))
    (tmp_path / ".model_0000019.pth.0a1b2c3d.tmp").write_bytes(b"half")
    (tmp_path / "model_0000019.json").write_text("{}")
    (tmp_path / "best.json").write_text("{}")

    clear_leftovers(tmp_path)

    assert names_in(tmp_path) == ["best.json", "last_checkpoint", "model_0000009.json", "model_0000009.pth"]


def test_the_final_name_follows_the_last_checkpoint(tmp_path: Path):
    paths = RunPaths(tmp_path)
    for iteration, value in ((9, 1.0), (19, 5.0)):
        name_final(save_iteration(checkpointer_in(paths, value), paths, iteration), paths)

    assert torch.load(paths.final_weights)["model"]["weight"].eq(5.0).all()
    assert torch.load(paths.checkpoint(9))["model"]["weight"].eq(1.0).all()


def test_a_second_name_can_be_given_again_and_where_links_are_not_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("weights")

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    link_or_copy(source, target)
    link_or_copy(source, target)
    assert os.path.samefile(source, target)
    monkeypatch.setattr(os, "link", no_links)
    link_or_copy(source, target)

    assert not os.path.samefile(source, target)
    assert target.read_text() == "weights"
    assert names_in(tmp_path) == ["source", "target"]


# ---- damage


def _state() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    weights = {f"layer{i}": torch.randn(64, 32, generator=generator) for i in range(8)}
    return {"model": weights, "trainer": {"momentum": [torch.randn(999, generator=generator)], "lr": 0.1}}


def _flip_a_bit(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _put_garbage(content: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(content))
    garbage = rng.randbytes(min(512, len(content) - start))
    content[start : start + len(garbage)] = garbage


def _zero_a_page(content: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(content))
    content[start : start + 4096] = bytes(len(content[start : start + 4096]))


def _truncate(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def _append(content: bytearray, rng: random.Random) -> None:
    content.extend(rng.randbytes(rng.choice([1, 22, 4096])))


DAMAGES = (_flip_a_bit, _put_garbage, _zero_a_page, _truncate, _append)


def _damaged(whole: bytes, damage: Any, rng: random.Random) -> bytes:
    while True:  # zeros over zeros, and the like, are no damage
        content = bytearray(whole)
        damage(content, rng)
        if content != whole:
            return bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_to_our_own_checkpoint_is_noticed(tmp_path: Path, damage: Any):
    path = tmp_path / "model_0000009.pth"
    write_checkpoint(_state(), path, Milestone(iteration=9))
    whole = path.read_bytes()
    rng = random.Random(7)
    assert damage_of(path) is None

    for _ in range(60):
        path.write_bytes(_damaged(whole, damage, rng))

        assert damage_of(path) is not None


def _ends(content: bytes) -> range:
    """The end of the archive, its directory, where a flipped bit is no record's."""
    return range(content.index(b"PK\x01\x02"), len(content))


@pytest.mark.parametrize("damage", [*DAMAGES, "every byte of the directory"])
def test_what_is_taken_for_valid_without_a_manifest_loads_with_equal_content(tmp_path: Path, damage: Any):
    path = tmp_path / "model_0000009.pth"
    torch.save(_state(), path)
    whole, rng = path.read_bytes(), random.Random(8)
    if isinstance(damage, str):
        damaged = [whole[:i] + bytes([whole[i] ^ (1 << rng.randrange(8))]) + whole[i + 1 :] for i in _ends(whole)]
    else:
        damaged = [_damaged(whole, damage, rng) for _ in range(60)]

    for content in damaged:
        path.write_bytes(content)
        if damage_of(path) is None:
            torch.testing.assert_close(torch.load(path, weights_only=True), _state(), rtol=0, atol=0)


def test_a_damaged_manifest_is_not_believed(tmp_path: Path):
    path = tmp_path / "model_0000009.pth"
    write_checkpoint(_state(), path, Milestone(iteration=9, images_seen=160))
    text = manifest_path(path).read_text()

    manifest_path(path).write_text(text.replace("160", "960"))

    assert read_manifest(path) is None
    assert damage_of(path) is None


# ---- state


def test_a_snapshot_keeps_the_values_while_training_continues_and_reuses_its_memory():
    weight = torch.ones(8)
    bucket = [1]
    snapshot = Snapshot()

    copy = snapshot.take({"weight": weight, "view": weight, "bucket": bucket})
    weight.mul_(2)
    bucket.append(2)

    assert copy["weight"].eq(1).all()
    assert copy["view"] is copy["weight"]  # saved once
    assert copy["bucket"] == [1]
    assert snapshot.take({"weight": weight})["weight"].data_ptr() == copy["weight"].data_ptr()
    assert snapshot.take({"weight": torch.ones(9)})["weight"].shape == (9,)


def test_a_snapshot_keeps_what_torch_notes_beside_a_models_weights():
    state = torch.nn.BatchNorm2d(3).state_dict()

    copy = Snapshot().take(state)

    assert isinstance(copy, OrderedDict)
    assert copy._metadata == state._metadata


def test_what_could_not_be_loaded_again_is_refused_by_name():
    with pytest.raises(TypeError, match=r"checkpoint\.trainer\.window is a deque"):
        as_plain({"trainer": {"window": deque([1])}})


def test_numbers_of_numpy_become_plain_ones():
    assert type(as_plain([np.float64(0.5)])[0]) is float
