"""A tenth of what `scripts/fuzz` makes, on every run of the tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from launcher.config.adjustment import Adjustment
from launcher.config.known_keys import read_keys
from launcher.config.request import RunSettings
from launcher.run.plan import Report
from tests.values import a_plan, a_request

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "fuzz" / "command_lines.py"

KEYS = {
    "SOLVER": {"MAX_ITER": 10, "BASE_LR": 0.001, "STEPS": [5, 8], "AMP": {"ENABLED": False}},
    "SEED": 3,
    "OUTPUT_DIR": "/nowhere/mine",
}


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
    assert {answered.code for answered in answers} >= {0, 2}
    assert any(answered.plans for answered in answers)


def test_a_traceback_a_hang_and_another_exit_code_are_misses(fuzz: ModuleType):
    wrong = [
        fuzz.Answered(words=(), code=1, screen="", error=""),
        fuzz.Answered(words=(), code=2, screen="Traceback (most recent call last)", error=""),
        fuzz.Answered(words=(), code=2, screen="error: \x1b[2J", error=""),
        fuzz.Answered(words=(), code=2, screen="error\nType:\n  launcher plan SOLVER.BASE_LRR=1", error=""),
    ]

    assert [one.words for one in wrong if not fuzz._complaint(one)] == []


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        ((), ["SOLVER.MAX_ITER was typed as 12, and the request has 10"]),
        (("SOLVER.MAX_ITER=10",), []),
        (("experiment=demo",), []),
    ],
)
def test_what_comes_out_otherwise_than_the_file_has_it_is_a_miss(
    fuzz: ModuleType, typed: tuple[str, ...], wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path(fuzz.SOUND).parent.mkdir(parents=True)
    Path(fuzz.SOUND).write_text("SOLVER: {MAX_ITER: 12, STEPS: [5, 8]}\nrun: {name: first}\n")
    request = a_request(KEYS, run=RunSettings(name="first"))
    words = (*typed, *fuzz.SOUND_FILE)
    answered = fuzz.Answered(words=words, code=0, screen="", error="", requests=(request,))

    assert list(fuzz.differences(answered, read_keys())) == wrong


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("SOLVER.MAX_ITER=12",), ["SOLVER.MAX_ITER was typed as 12, and the request has 10"]),
        (("SOLVER.BASE_LR=1e-3", "SOLVER.AMP.ENABLED=false", "SEED=9", "SEED=3"), []),
        (("SOLVER.STEPS=[5,8]", "run.name=first", "scaling=keep_batch"), []),
        (("SOLVER.STEPS=[5,9]",), ["SOLVER.STEPS was typed as [5, 9], and the request has [5, 8]"]),
        (("run.name=1e5",), ["run.name was typed as '1e5', and the request has 'first'"]),
        (("OUTPUT_DIR=/nowhere/mine/",), []),
        (("OUTPUT_DIR=/nowhere",), ["OUTPUT_DIR was typed as '/nowhere', and the request has '/nowhere/mine'"]),
        (("-m", "SOLVER.MAX_ITER=12"), []),
    ],
)
def test_what_comes_out_otherwise_than_it_was_typed_is_a_miss(fuzz: ModuleType, words, wrong: list[str]):
    request = a_request(KEYS, run=RunSettings(name="first"))
    answered = fuzz.Answered(words=words, code=0, screen="", error="", requests=(request,))

    assert [line for line in fuzz.differences(answered, read_keys()) if "run folder" not in line] == wrong


@pytest.mark.parametrize(("setting", "misses"), [("SEED", 0), ("SOLVER.MAX_ITER", 1)])
def test_a_plan_with_another_value_is_a_miss_unless_an_adjustment_names_the_setting(
    fuzz: ModuleType, setting: str, misses: int
):
    adjusted = Adjustment(setting=setting, asked=3, planned=4, reason="for a test")
    plan = a_plan(KEYS | {"SEED": 4}, report=Report(adjustments=(adjusted,), warnings=(), notices=(), changed=()))
    answered = fuzz.Answered(words=("SEED=3",), code=0, screen="", error="", requests=(a_request(KEYS),), plans=(plan,))

    assert len(list(fuzz.differences(answered, read_keys()))) == misses


@pytest.mark.parametrize(("word", "misses"), [("OUTPUT_DIR=/nowhere/mine", 0), ("OUTPUT_DIR=/nowhere", 2)])
def test_another_run_folder_than_was_typed_is_a_miss(fuzz: ModuleType, word: str, misses: int):
    answered = fuzz.Answered(words=(word,), code=0, screen="", error="", requests=(a_request(KEYS),))

    assert len(list(fuzz.differences(answered, read_keys()))) == misses
