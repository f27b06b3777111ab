"""The child that measures, replaced by programs that answer, fail or hang."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import OwnCode
from launcher.device.bfloat16 import Bfloat16Facts, LayerKind
from launcher.device.look.bfloat16 import look_at_bfloat16

KEYS = Keys({"MODEL": {"WEIGHTS": "a.pth", "DEVICE": "cuda", "DEPTH": 50}, "INPUT": {}, "SOLVER": {"MAX_ITER": 9}})
MEASURED = Bfloat16Facts(
    layers=(LayerKind(name="linear layers", float32_s=2.0, bfloat16_s=1.0, difference=0.002),), problem=""
)
NO_CODE = OwnCode()
ANSWER = """
open({count!r}, "a").write("x")
layers = [{{"name": "linear layers", "float32_s": 2.0, "bfloat16_s": 1.0, "difference": 0.002}}]
print(json.dumps({{"layers": layers, "stage": "end"}}), file=journal)
"""
PREAMBLE = "import json, os, sys, time\njournal = open(sys.argv[1], 'a', buffering=1)\n"


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., Bfloat16Facts]:
    """Have a program answer, with a cache of its own."""

    def run(body: str, keys: Keys = KEYS, own_code: OwnCode = NO_CODE, **more: Any) -> Bfloat16Facts:
        script = tmp_path / "child.py"
        script.write_text(PREAMBLE + body.format(count=str(tmp_path / "count")))
        environ = {"XDG_CACHE_HOME": str(tmp_path / "cache"), **more.pop("environ", {})}
        return look_at_bfloat16(keys, own_code, environ=environ, program=(sys.executable, str(script)), **more)

    return run


def times_measured(tmp_path: Path) -> int:
    return len((tmp_path / "count").read_text())


def test_what_was_measured_is_kept_for_the_same_model(look: Any, tmp_path: Path):
    assert [look(ANSWER), look(ANSWER)] == [MEASURED, MEASURED]

    assert times_measured(tmp_path) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"keys": Keys({**KEYS.nested(), "MODEL": {"DEPTH": 101}})},
        {"environ": {"ONEDNN_MAX_CPU_ISA": "AVX2"}},
        {"own_code": OwnCode(imports=("json",))},
    ],
    ids=["another model", "another processor for oneDNN", "a model of the user's own"],
)
def test_it_is_measured_anew_for(look: Any, tmp_path: Path, other: dict[str, Any]):
    look(ANSWER)
    look(ANSWER, **other)

    assert times_measured(tmp_path) == 2


def test_neither_weights_nor_schedule_make_it_another_model(look: Any, tmp_path: Path):
    other = Keys({**KEYS.nested(), "MODEL": {"WEIGHTS": "b.pth", "DEVICE": "cpu", "DEPTH": 50}, "SOLVER": {}})

    look(ANSWER)
    look(ANSWER, keys=other)

    assert times_measured(tmp_path) == 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("print(json.dumps({{'problem': 'KeyError: x', 'stage': 'end'}}), file=journal)", "KeyError: x"),
        (
            "print(json.dumps({{'stage': 'measuring'}}), file=journal); os.abort()",
            "the process that tried it was killed by signal 6 in stage `measuring`",
        ),
        ("sys.exit('no torch')", "the process that tried it failed in stage `start` (no torch)"),
    ],
    ids=["an error", "a crash", "an exit"],
)
def test_a_child_that_cannot_measure_is_a_fact_with_a_reason_and_is_asked_again(look: Any, body: str, problem: str):
    assert look(body) == Bfloat16Facts(layers=(), problem=problem)
    assert look(ANSWER) == MEASURED


def test_a_child_that_hangs_is_ended(look: Any):
    facts = look("time.sleep(60)", deadline_s=1.0)

    assert facts.problem == "the process that tried it took too long in stage `start`"


def test_the_child_gets_a_model_of_no_weights_on_the_cpu(look: Any):
    body = (
        "print(json.dumps({{'problem': str(json.loads(sys.argv[2])['keys']['MODEL']), 'stage': 'end'}}), file=journal)"
    )

    assert look(body).problem == "{'WEIGHTS': '', 'DEVICE': 'cpu', 'DEPTH': 50}"


def test_whoever_waits_is_told_why_and_only_then(look: Any):
    announced: list[str] = []

    look(ANSWER, announce=announced.append)
    look(ANSWER, announce=announced.append)

    assert len(announced) == 1
    assert "bfloat16" in announced[0]
