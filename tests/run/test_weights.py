from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from launcher.errors import RequestError
from launcher.files import write_text
from launcher.run.paths import RunPaths
from launcher.run.weights import find_weights


def a_run(folder: Path, *checkpoints: str) -> RunPaths:
    paths = RunPaths(folder)
    write_text(paths.request, "identity: {}\n")
    write_text(paths.attempt(1).plan, json.dumps({}))
    paths.checkpoints.mkdir()
    for name in checkpoints:
        torch.save({"model": {}}, paths.checkpoints / name)
    return paths


@pytest.mark.parametrize(
    ("asked", "there", "found"),
    [
        ("", ("model_0000004.pth", "model_final.pth", "model_best.pth"), "model_final.pth"),
        ("", ("model_0000004.pth", "model_best.pth"), "model_best.pth"),
        ("", ("model_0000004.pth", "model_0000009.pth"), "model_0000009.pth"),
        ("best", ("model_final.pth", "model_best.pth"), "model_best.pth"),
        ("last", ("model_final.pth", "model_0000009.pth"), "model_0000009.pth"),
    ],
)
def test_weights_are_found_by_what_a_run_calls_them(tmp_path: Path, asked: str, there: tuple[str, ...], found: str):
    paths = a_run(tmp_path, *there)

    assert find_weights(tmp_path, asked) == paths.checkpoints / found


@pytest.mark.parametrize(
    ("others", "found"),
    [(("model_best.pth",), "model_best.pth"), ((), "model_0000009.pth")],
)
def test_final_weights_of_an_earlier_end_are_not_those_of_a_run_that_was_made_longer(
    tmp_path: Path, others: tuple[str, ...], found: str
):
    paths = a_run(tmp_path, "model_final.pth", *others)
    torch.save({"model": {"longer": 1}}, paths.checkpoints / "model_0000009.pth")
    os.utime(paths.final_weights, (1, 1))

    assert find_weights(tmp_path, "") == paths.checkpoints / found
    assert find_weights(tmp_path, "final") == paths.final_weights


@pytest.mark.parametrize("is_newer", [False, True])
def test_a_copy_of_the_final_weights_or_an_older_checkpoint_makes_no_run_longer(tmp_path: Path, is_newer: bool):
    paths = a_run(tmp_path, "model_final.pth")
    newest = paths.checkpoints / "model_0000009.pth"
    torch.save({"model": {"older": 1}}, newest)
    if is_newer:
        shutil.copy(paths.final_weights, newest)
    os.utime(paths.final_weights if is_newer else newest, (1, 1))

    assert find_weights(tmp_path, "") == paths.final_weights


def test_weights_are_found_by_their_path(tmp_path: Path):
    file = a_run(tmp_path, "model_0000009.pth").checkpoints / "model_0000009.pth"

    assert find_weights(tmp_path, str(file)) == file


@pytest.mark.parametrize(
    ("asked", "there", "why"),
    [
        ("best", ("model_final.pth",), r"checkpoint=best, but .* has final only.*keep_best.*Set checkpoint=final"),
        ("best", (), r"holds no checkpoint: its training has not saved one yet"),
        ("nowhere.pth", ("model_final.pth",), r"checkpoint=nowhere\.pth, but there is no such file"),
    ],
)
def test_weights_that_are_not_there_get_a_sentence(tmp_path: Path, asked: str, there: tuple[str, ...], why: str):
    a_run(tmp_path, *there)

    with pytest.raises(RequestError, match=why):
        find_weights(tmp_path, asked)


def test_damaged_weights_are_named_before_anything_is_started(tmp_path: Path):
    file = a_run(tmp_path, "model_final.pth").final_weights
    file.write_bytes(file.read_bytes()[:-40])

    with pytest.raises(RequestError, match=r"model_final\.pth is truncated.*checkpoint=last"):
        find_weights(tmp_path, "final")
