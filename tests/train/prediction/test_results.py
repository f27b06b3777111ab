from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from launcher.errors import DataError
from launcher.train.prediction.results import image_ids


def ids_file(folder: Path, *names: str) -> str:
    file = folder / "ids.json"
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, 7)]
    file.write_text(json.dumps({"images": images}))
    return str(file)


@pytest.mark.parametrize(
    ("files", "names", "expected"),
    [
        (["/a/1.jpg", "/a/2.jpg"], ["2.jpg", "1.jpg"], [8, 7]),
        (["/a/train/1.jpg", "/a/val/1.jpg"], ["1.jpg", "val/1.jpg"], [7, 8]),
        (["/a/1.jpg", "/a/other.jpg"], ["1.jpg"], [7, "other.jpg"]),
    ],
)
def test_images_have_the_ids_that_a_file_gives_their_names(
    tmp_path: Path, files: Sequence[str], names: Sequence[str], expected: Sequence[int | str]
):
    found = image_ids(files, ids_file(tmp_path, *names))

    assert [found.of[file] for file in files] == expected


def test_two_files_of_one_name_do_not_get_one_id(tmp_path: Path):
    with pytest.raises(DataError, match=r"called 1\.jpg, and /a/train/1\.jpg and /a/val/1\.jpg are both called so"):
        image_ids(["/a/train/1.jpg", "/a/val/1.jpg"], ids_file(tmp_path, "1.jpg"))
