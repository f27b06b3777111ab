"""Runs, found below a folder and by what a user calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import RequestError
from launcher.run.found import called, find_run, find_runs, is_run
from tests.recorded_runs import plan_a_run

NAMES = (
    "coco/default",
    "coco/BASE_LR=0.1",
    "coco/lr/BASE_LR=0.1",
    "demo/default",
    "demo/default-1a2b3c4d",
    "demo/BASE_LR=0.5",
)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        plan_a_run(tmp_path / "outputs" / name)
    (tmp_path / "outputs" / "sweeps").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def test_every_run_below_a_folder_is_found_and_nothing_else(outputs: Path):
    (outputs / "coco" / "default" / "checkpoints").mkdir()
    (outputs / ".hidden" / "attempts").mkdir(parents=True)
    (plan_a_run(outputs / "predictions" / "photos").folder / "results").mkdir()

    assert {str(run.relative_to(outputs)) for run in find_runs(outputs)} == set(NAMES)
    assert list(find_runs(outputs / "coco" / "default")) == [outputs / "coco" / "default"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("coco/default", "coco/default"),
        ("coco/default/", "coco/default"),
        ("lr/BASE_LR=0.1", "coco/lr/BASE_LR=0.1"),
        ("0.5", "demo/BASE_LR=0.5"),
        ("BASE_LR=0.5", "demo/BASE_LR=0.5"),
        ("mo/default", "demo/default"),
        ("mo/BASE", "demo/BASE_LR=0.5"),
        ("outputs/demo/default", "demo/default"),
        ("./outputs/../outputs/demo/default", "demo/default"),
    ],
)
def test_a_run_is_named_by_its_folder_its_end_or_a_part_that_no_other_has(outputs: Path, asked: str, name: str):
    assert find_run(asked, Path("outputs")) == outputs / name


def test_a_run_is_found_by_its_folder_from_anywhere(outputs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")

    assert find_run(str(outputs / "demo/default"), Path("outputs")) == outputs / "demo/default"


@pytest.mark.parametrize(
    ("asked", "candidates"),
    [
        ("default", ["coco/default", "demo/default"]),
        ("BASE_LR=0.1", ["coco/BASE_LR=0.1", "coco/lr/BASE_LR=0.1"]),
        ("BASE", ["coco/BASE_LR=0.1", "coco/lr/BASE_LR=0.1", "demo/BASE_LR=0.5"]),
    ],
)
def test_what_fits_several_runs_is_answered_with_all_of_them(outputs: Path, asked: str, candidates: list[str]):
    with pytest.raises(RequestError) as caught:
        find_run(asked, outputs)

    assert str(caught.value).splitlines()[1:-1] == [f"  {name}" for name in candidates]


def test_what_fits_no_run_is_answered_with_the_nearest(outputs: Path):
    with pytest.raises(RequestError, match=r"called 'demo/defualt'; there are 6\. The nearest: demo/default"):
        find_run("demo/defualt", outputs)


def test_the_home_folder_is_found_where_a_shell_has_left_it_as_typed(outputs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(outputs.parent))

    assert find_run("demo/default", Path("~/outputs")) == outputs / "demo/default"


def test_a_folder_without_runs_is_named(tmp_path: Path):
    with pytest.raises(RequestError, match=r"there are none in .*nowhere.*--root DIR"):
        find_run("x", tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["", "/"])
def test_a_name_that_every_run_has_means_none(tmp_path: Path, name: str):
    plan_a_run(tmp_path / "demo" / "default")

    with pytest.raises(RequestError, match=f"is called '{name}'"):
        find_run(name, tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\udce9", "x/" * 3000, "~nobody-of-this-name/x"])
def test_a_name_that_no_file_can_have_is_no_run(tmp_path: Path, name: str):
    assert not is_run(tmp_path / name)
    with pytest.raises(RequestError, match="is no run"):
        find_run(name, tmp_path)


def test_a_run_is_called_as_it_can_be_typed_where_one_stands(outputs: Path, monkeypatch: pytest.MonkeyPatch):
    run = outputs / "demo/default"
    assert called(run) == "demo/default"

    monkeypatch.chdir("/usr")
    assert called(run) == str(run)
    monkeypatch.chdir(outputs.parent.parent)
    assert called(run) == f"{outputs.parent.name}/outputs/demo/default"


def test_predictions_are_no_run(tmp_path: Path):
    for name in ("demo/first/attempts", "predictions/photos/attempts", "predictions/photos/results"):
        (tmp_path / name).mkdir(parents=True)

    assert list(find_runs(tmp_path)) == [tmp_path / "demo/first"]
