"""What `launcher explain` prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli.explain import explanation
from launcher.cli.main import main
from launcher.data.codes import CODES
from launcher.device.causes.catalogue import BY_CODE
from launcher.errors import ExitCode, RequestError
from launcher.files import write_text


def test_a_code_is_explained_with_what_to_do_and_its_texts():
    text = explanation("driver.stub")

    assert text.startswith("driver.stub: ")
    assert "/stubs" in text
    assert "CUDA driver is a stub library" in text


@pytest.mark.parametrize("typed", ["GPU.SICK", "Gpu.Sick", " gpu.sick "])
def test_capital_letters_in_a_code_do_not_matter(typed: str):
    assert explanation(typed).startswith("gpu.sick: ")
    assert explanation("NCCL") == explanation("nccl")


def test_a_text_is_explained_by_its_likeliest_cause_and_names_the_others():
    text = explanation("RuntimeError: No CUDA GPUs are available")

    assert text.startswith("known by: No CUDA GPUs are available")
    assert "gpu.none: " in text
    assert "  visible.empty " in text
    assert "launcher doctor" in text


def test_alone_it_lists_every_code():
    text = explanation("")

    assert [code for code in BY_CODE if f"  {code} " not in text] == []


def test_a_group_lists_its_codes():
    assert explanation("nccl").splitlines()[1:] == [
        "  nccl.hangs                   the GPUs wait for each other endlessly (NCCL)",
        "  nccl.failed                  the GPUs cannot talk to each other (NCCL)",
    ]


def test_a_code_of_a_data_check_is_explained_by_its_message_and_what_to_do():
    assert explanation("[image.no_file]").splitlines() == [
        "image.no_file: found in a data set",
        "",
        "  means  n of m images have no file in <folder>",
        "  do     Set dataset.<train or val>.images to the folder that holds them",
    ]


def test_a_code_of_data_that_matters_in_two_ways_is_explained_with_both():
    text = " ".join(explanation("area.zero").split())

    assert "counts them as small ones" in text
    assert "which keypoints are measured by" in text


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_a_message_about_data_is_explained_without_a_template(code: str):
    text = explanation(code)

    assert text.startswith(f"{code}: found in a data set\n\n  means  ")
    assert not re.search(r"\{\w+\}", text)


def test_a_mistyped_code_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match=r"driver\.to_old.*driver\.too_old.*launcher doctor"):
        explanation("driver.to_old")


def test_an_unknown_text_ends_with_the_exit_code_of_a_wrong_request(capsys: pytest.CaptureFixture[str]):
    assert main(["explain", "my", "cat", "sat"]) == ExitCode.request_wrong
    assert "launcher doctor" in capsys.readouterr().err


def test_words_need_no_quotes(capsys: pytest.CaptureFixture[str]):
    assert main(["explain", "no", "kernel", "image", "is", "available"]) == ExitCode.finished
    assert "arch.not_in_wheel" in capsys.readouterr().out


def test_explaining_loads_nothing_large():
    """It is typed in a hurry: torch, Hydra and even rich would make it wait."""
    code = (
        "import sys; from launcher.cli.main import main; main(['explain', 'gpu.sick']);"
        "print([name for name in ('torch', 'hydra', 'omegaconf', 'rich', 'detectron2') if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.splitlines()[-1] == "[]"


def test_a_setting_is_explained_with_its_values_and_who_reads_it():
    text = explanation("SOLVER.LR_SCHEDULER_NAME")

    assert text.startswith("SOLVER.LR_SCHEDULER_NAME\n")
    assert "WarmupCosineLR, WarmupMultiStepLR" in text
    assert "default    WarmupMultiStepLR" in text
    assert "detectron2.readthedocs.io" in text


@pytest.mark.parametrize(
    ("asked", "beginning"),
    [
        ("device.on_missing=refuse", "device.on_missing\n"),
        ("BASE_LR", "SOLVER.BASE_LR\n"),
        ("SOLVER.CLIP_GRADIENTS", "SOLVER.CLIP_GRADIENTS has 4 settings:\n"),
        ("resume", "resume\n"),
    ],
)
def test_a_setting_is_known_by_its_end_and_a_node_lists_its_own(asked: str, beginning: str):
    assert explanation(asked).startswith(beginning)


def test_a_mistyped_setting_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match=r"LR_SCHEDULR.*nearest settings are SOLVER\.LR_SCHEDULER_NAME"):
        explanation("SOLVER.LR_SCHEDULR")


PASTED = "Traceback (most recent call last):\n  ...\nRuntimeError: No CUDA GPUs are available\n"


def test_a_file_is_explained_by_the_errors_in_it(tmp_path: Path):
    (tmp_path / "log.txt").write_text("iteration 1\n" * 1000 + PASTED)

    assert explanation(str(tmp_path / "log.txt")).startswith("known by: No CUDA GPUs are available")


def test_a_file_without_a_known_error_is_refused_with_its_last_line(tmp_path: Path):
    (tmp_path / "log.txt").write_text("all went well\nbye\n")

    with pytest.raises(RequestError, match=r"log\.txt has no error that is known. Its last line is 'bye'"):
        explanation(str(tmp_path / "log.txt"))


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_pipe_is_read(arguments: list[str]):
    command = [sys.executable, "-m", "launcher", "explain", *arguments]

    done = subprocess.run(command, input=PASTED, capture_output=True, text=True, check=False)

    assert done.stdout.startswith("known by: No CUDA GPUs are available"), done.stderr


def test_an_empty_pipe_is_a_sentence_that_says_which_stream_errors_take():
    command = [sys.executable, "-m", "launcher", "explain"]

    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)

    assert done.returncode == ExitCode.request_wrong
    assert "COMMAND 2>&1 | launcher explain" in done.stderr


def write_run(folder: Path, outcome: dict[str, object]) -> Path:
    write_text(folder / "request.yaml", "command: launcher train\nkeys: {SOLVER: {BASE_LR: 0.5}}\n")
    write_text(
        folder / "attempts/1/outcome.json",
        json.dumps({"seconds": 1.0, "work": {"iterations": 3, "metrics": {}}, **outcome}),
    )
    return folder


def test_a_run_that_failed_is_explained_by_its_code_and_its_log(tmp_path: Path):
    failed = {"ending": "failed", "exit_code": 1, "code": "run.failed", "explanation": "it broke"}
    folder = write_run(tmp_path / "outputs/demo/default", failed)
    write_text(folder / "attempts/1/log.txt", PASTED)

    text = explanation(str(folder))

    assert "attempt 1 failed: it broke [run.failed]" in text
    assert "\nrun.failed: " in text
    assert "  gpu.none " in text


def test_a_run_that_did_not_fail_says_so_and_names_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "outputs/demo/default", {"ending": "finished", "exit_code": 0, "code": "", "explanation": ""})
    monkeypatch.chdir(tmp_path)

    text = explanation("demo/default")

    assert text == "demo/default: finished, nothing failed. `launcher status demo/default` shows more."


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(RequestError, match=r"is a folder and holds no run.*launcher runs"):
        explanation(str(tmp_path))


def test_who_set_it_in_a_run_is_told_beside_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "outputs/demo/default", {"ending": "finished", "exit_code": 0, "code": "", "explanation": ""})
    monkeypatch.chdir(tmp_path)

    text = explanation("SOLVER.BASE_LR", "demo/default")

    assert text.endswith("in demo/default: 0.5\n  default: 0.001")


@pytest.mark.parametrize("asked", ["gpu.sick", "no such thing"])
def test_only_settings_are_asked_about_in_a_run(asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "outputs/demo/default", {"ending": "finished", "exit_code": 0, "code": "", "explanation": ""})
    monkeypatch.chdir(tmp_path)

    with pytest.raises(RequestError, match="--run tells who set a setting"):
        explanation(asked, "demo/default")
