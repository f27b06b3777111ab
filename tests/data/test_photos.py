from __future__ import annotations

from pathlib import Path

import pytest

from launcher.data.photos import find_images
from launcher.errors import DataError, LauncherError, RequestError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", "sub/c.jpeg", ".hidden/d.jpg", ".e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(folder: Path, *inputs: str) -> list[str]:
    found = find_images([str(folder / one) for one in inputs])
    return [str(Path(file).relative_to(folder)) for file in found]


def test_a_folder_stands_for_its_images_and_those_below(folder: Path):
    assert names(folder, ".") == ["a.PNG", "b.jpg", "sub/c.jpeg"]


def test_a_pattern_stands_for_its_matches_and_a_file_for_itself(folder: Path):
    assert names(folder, "*.jpg", "notes.txt", "sub/c.jpeg") == ["b.jpg", "notes.txt", "sub/c.jpeg"]


def test_an_image_that_is_named_twice_is_found_once(folder: Path):
    assert names(folder, "b.jpg", "*.jpg") == ["b.jpg"]


def test_a_file_with_a_pattern_for_a_name_is_that_file(folder: Path):
    (folder / "[x].jpg").touch()

    assert names(folder, "[x].jpg") == ["[x].jpg"]


@pytest.mark.parametrize(
    ("named", "kind", "why"),
    [
        ("missing.jpg", DataError, r"missing\.jpg: there is no such file or folder"),
        ("*.gif", DataError, r"\*\.gif: no image matches"),
        ("empty", DataError, r"empty is a folder without images"),
        ("film.MP4", RequestError, r"film\.MP4 is a video, which is not supported.*ffmpeg -i film\.MP4"),
    ],
)
def test_what_is_no_image_gets_a_sentence(folder: Path, named: str, kind: type[LauncherError], why: str):
    (folder / "empty").mkdir()

    with pytest.raises(kind, match=why):
        names(folder, named)


def test_everything_that_is_missing_is_named_at_once(folder: Path):
    with pytest.raises(DataError, match=r"(?s)x\.jpg.*y\.jpg"):
        names(folder, "x.jpg", "b.jpg", "y.jpg")
