from __future__ import annotations

import pytest

from launcher.config.keys import Keys
from launcher.config.request import Precision
from launcher.device.bfloat16 import Bfloat16Facts, LayerKind
from launcher.device.policy.cpu_precision import needs_measuring, precision_on_cpu

ASKED = Keys({"SOLVER": {"AMP": {"ENABLED": True}}})
NOT_ASKED = Keys({"SOLVER": {"AMP": {"ENABLED": False}}})


def layer(name: str, float32_s: float, bfloat16_s: float, difference: float = 0.002) -> LayerKind:
    return LayerKind(name=name, float32_s=float32_s, bfloat16_s=bfloat16_s, difference=difference)


def seen(*layers: LayerKind, problem: str = "") -> Bfloat16Facts:
    return Bfloat16Facts(layers=layers, problem=problem)


FAST = seen(layer("3x3 convolutions", 2.0, 1.0), layer("linear layers", 0.5, 0.3))
SLOW = seen(layer("3x3 convolutions", 2.0, 1.0), layer("3x3 dilated convolutions", 1.0, 4.0))
WRONG = seen(layer("3x3 convolutions", 2.0, 1.0), layer("3x3 convolutions of stride 3", 0.1, 0.1, 0.45))


def test_mixed_precision_runs_in_bfloat16_where_that_is_faster_and_says_by_how_much():
    decided = precision_on_cpu(ASKED, Precision.auto, FAST, begun_in=None)

    assert decided.planned == "bfloat16"
    assert decided.adjustments == ()
    assert decided.notices == (
        "mixed precision runs in bfloat16 on the CPU, measured 1.9 times as fast here in this model's layers",
    )


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            SLOW,
            "bfloat16 is 0.6 times as fast as float32 on this CPU, 0.2 times for 3x3 dilated convolutions",
        ),
        (seen(layer("linear layers", 1.0, 2.0)), "bfloat16 is 0.5 times as fast as float32 on this CPU"),
        (seen(layer("linear layers", 1.1, 1.0)), "bfloat16 is 1.1 times as fast as float32 on this CPU"),
        (
            WRONG,
            "bfloat16 is wrong on this CPU for 3x3 convolutions of stride 3: results differ by 45 %",
        ),
        (seen(problem="it broke"), "bfloat16 could not be tried on this CPU: it broke"),
        (None, "bfloat16 could not be tried on this CPU: nothing was measured"),
    ],
    ids=["slow for one kind", "slow", "not worth it", "wrong", "broken", "not measured"],
)
def test_otherwise_mixed_precision_is_off_and_one_line_says_why(facts: Bfloat16Facts | None, reason: str):
    decided = precision_on_cpu(ASKED, Precision.auto, facts, begun_in=None)

    (adjustment,) = decided.adjustments
    assert decided.planned == ""
    assert (adjustment.setting, adjustment.asked, adjustment.planned) == ("SOLVER.AMP.ENABLED", True, False)
    assert adjustment.reason == reason


def test_nobody_gets_bfloat16_unasked():
    decided = precision_on_cpu(NOT_ASKED, Precision.bfloat16, FAST, begun_in=None)

    assert (decided.planned, decided.adjustments, decided.notices) == ("", (), ())
    assert not needs_measuring(NOT_ASKED, Precision.bfloat16, begun_in=None)


def test_asked_for_by_name_bfloat16_is_used_although_it_is_slow_but_not_where_it_is_wrong():
    slow, wrong = (precision_on_cpu(ASKED, Precision.bfloat16, facts, begun_in=None) for facts in (SLOW, WRONG))

    assert slow.planned == "bfloat16"
    assert "as device.precision=bfloat16 asks, although bfloat16 is 0.6 times as fast" in slow.notices[0]
    assert wrong.planned == ""


def test_float16_becomes_bfloat16_and_is_reported():
    decided = precision_on_cpu(ASKED, Precision.float16, FAST, begun_in=None)

    (adjustment,) = decided.adjustments
    assert (adjustment.setting, adjustment.asked, adjustment.planned) == ("device.precision", "float16", "bfloat16")
    assert adjustment.reason == "float16 requires CUDA"


@pytest.mark.parametrize(("begun_in", "facts"), [("", FAST), ("bfloat16", SLOW), ("bfloat16", None)])
def test_a_run_keeps_the_type_it_began_in_whatever_is_measured_now(begun_in: str, facts: Bfloat16Facts | None):
    decided = precision_on_cpu(ASKED, Precision.auto, facts, begun_in=begun_in)

    assert decided.planned == begun_in
    assert not needs_measuring(ASKED, Precision.auto, begun_in=begun_in)


def test_who_asks_for_bfloat16_by_name_in_a_run_that_began_without_gets_it():
    assert needs_measuring(ASKED, Precision.bfloat16, begun_in="")
    assert precision_on_cpu(ASKED, Precision.bfloat16, FAST, begun_in="").planned == "bfloat16"
