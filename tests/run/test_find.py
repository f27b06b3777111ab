from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from launcher.errors import RequestError
from launcher.files import write_text
from launcher.run.find import find_run, find_weights
from launcher.run.paths import RunPaths


def a_run(folder: Path, *checkpoints: str) -> RunPaths:
    paths = RunPaths(folder)
    write_text(paths.request, "identity: {}\n")
    write_text(paths.attempt(1).plan, json.dumps({}))
    paths.checkpoints.mkdir()
    for name in checkpoints:
        torch.save({"model": {}}, paths.checkpoints / name)
    return paths


@pytest.mark.parametrize("word", ["first", "demo/first", "outputs/demo/first"])
def test_a_run_is_found_by_its_folder_and_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str):
    monkeypatch.chdir(tmp_path)
    paths = a_run(tmp_path / "outputs/demo/first")

    assert find_run(word) == paths.folder


def test_a_name_of_several_runs_is_refused_with_their_folders(tmp_path: Path):
    a_run(tmp_path / "demo/first")
    a_run(tmp_path / "coco/first")

    with pytest.raises(RequestError, match=r"first is the name of 2 runs: .*coco/first, .*demo/first.*by its folder"):
        find_run("first", str(tmp_path))


def test_a_word_that_is_no_run_is_answered_with_those_that_there_are(tmp_path: Path):
    a_run(tmp_path / "demo/first")

    with pytest.raises(RequestError, match=r"^photos is neither a run folder.*are demo/first.*model="):
        find_run("photos", str(tmp_path))


def test_no_predictions_are_taken_for_a_run(tmp_path: Path):
    a_run(tmp_path / "demo/first").results.mkdir()

    with pytest.raises(RequestError, match="holds no run"):
        find_run("first", str(tmp_path))


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
