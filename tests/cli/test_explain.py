"""What `launcher explain` prints."""

from __future__ import annotations

import subprocess
import sys

import pytest

from launcher.cli.explain import explanation
from launcher.cli.main import main
from launcher.device.causes.catalogue import BY_CODE
from launcher.errors import ExitCode, RequestError


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
