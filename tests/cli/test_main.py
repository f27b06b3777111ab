from __future__ import annotations

import pytest

from launcher.cli.main import SHOWN_VERBS, VERBS, main, split_verb
from launcher.errors import ExitCode


@pytest.mark.parametrize(
    ("arguments", "verb", "rest"),
    [
        ([], "train", []),
        (["experiment=coco"], "train", ["experiment=coco"]),
        (["+experiment=coco", "-m"], "train", ["+experiment=coco", "-m"]),
        (["-m", "SOLVER.BASE_LR=1,2"], "train", ["-m", "SOLVER.BASE_LR=1,2"]),
        (["--cfg", "job"], "train", ["--cfg", "job"]),
        (["~dataset"], "train", ["~dataset"]),
        (["train", "--help"], "train", ["--help"]),
        (["plan", "device=cpu"], "plan", ["device=cpu"]),
        (["--help"], "help", []),
        (["--version"], "version", []),
        (["trian"], "unknown", ["trian"]),
        (["SOLVER.BASE_LR", "0.1"], "train", ["SOLVER.BASE_LR", "0.1"]),
    ],
)
def test_a_leading_word_is_the_verb_and_train_is_the_default(arguments: list[str], verb: str, rest: list[str]):
    assert split_verb(arguments) == (verb, rest)


def test_a_mistyped_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert main(["docter"]) == ExitCode.request_wrong

    assert "launcher doctor" in capsys.readouterr().err


def test_help_names_every_verb_that_people_may_type(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == ExitCode.finished

    printed = capsys.readouterr().out
    assert all(f"launcher {verb}" in printed.replace("[train]", "train") for verb in SHOWN_VERBS)
    assert set(SHOWN_VERBS) <= set(VERBS)


def test_tensorboard_needs_a_folder(capsys: pytest.CaptureFixture[str], tmp_path):
    assert main(["tensorboard", str(tmp_path / "missing")]) == ExitCode.request_wrong

    assert "no such folder" in capsys.readouterr().err
