"""`launcher data show` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from launcher.cli.main import main
from tests.conftest import Launch
from tests.data.defects import write_clean


def test_a_sheet_is_written_by_a_child_and_its_path_printed(launch: Launch, tmp_path: Path):
    write_clean(tmp_path / "fruits")

    shown = launch("data", "show", "fruits/train.json", "--n", "3", "--class", "date", "--augmented")

    file = tmp_path / "custom_train-augmented-date.png"
    assert (shown.returncode, shown.stdout) == (0, f"{file}: 3 of 8 images\n"), shown.stderr
    assert Image.open(file).size[0] > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--n", "0"], "--n 0: must be 1 or more", id="number"),
        pytest.param(["--out", "no/such/folder/a.png"], "Name a PNG in a folder that is there", id="folder"),
        pytest.param(["--val"], "DATASETS.TEST is empty", id="no val"),
    ],
)
def test_what_cannot_be_shown_is_answered_before_a_child_starts(words: list[str], message: str, tmp_path, capsys):
    write_clean(tmp_path)

    assert main(["data", "show", str(tmp_path / "train.json"), *words]) == 2
    assert message in capsys.readouterr().err
