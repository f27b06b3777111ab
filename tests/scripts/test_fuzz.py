"""A tenth of what `scripts/fuzz` makes, on every run of the tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "fuzz" / "command_lines.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_command_lines", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_command_line_gets_an_answer(fuzz: ModuleType):
    answers = list(fuzz.answers(30, seed=1))

    assert [(answered.words, answered.error) for answered in answers if answered.error] == []
    assert {answered.code for answered in answers} >= {2}


def test_a_traceback_a_hang_and_another_exit_code_are_misses(fuzz: ModuleType):
    wrong = [
        fuzz.Answered(words=(), code=1, screen="", error=""),
        fuzz.Answered(words=(), code=2, screen="Traceback (most recent call last)", error=""),
        fuzz.Answered(words=(), code=2, screen="error: \x1b[2J", error=""),
        fuzz.Answered(words=(), code=2, screen="error\nType:\n  launcher plan SOLVER.BASE_LRR=1", error=""),
    ]

    assert [one.words for one in wrong if not fuzz._complaint(one)] == []
