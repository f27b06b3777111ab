from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from launcher.device.policy.cpu_precision import WRONG
from launcher.train.bfloat16.calls import Call
from launcher.train.bfloat16.compare import Compared, compare_call, compare_kinds


def convolution(**options: object) -> Call:
    defaults = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    groups = int(str(options.get("groups", 1)))
    return Call(
        operation="conv2d",
        input_shape=(1, 8, 12, 12),
        weight_shape=(8, 8 // groups, 3, 3),
        options=tuple({**defaults, **options}.items()),
        input_grad=True,
        weight_grad=True,
    )


LINEAR = Call(
    operation="linear", input_shape=(4, 16), weight_shape=(8, 16), options=(), input_grad=True, weight_grad=True
)


@pytest.mark.parametrize(
    "call",
    [convolution(), convolution(stride=(2, 2)), convolution(dilation=(2, 2)), convolution(groups=2), LINEAR],
    ids=lambda call: call.kind,
)
def test_bfloat16_differs_by_its_rounding_and_no_more(call: Call):
    compared = compare_call(call)

    assert 0.0003 < compared.difference < WRONG
    assert compared.float32_s > 0
    assert compared.bfloat16_s > 0


def test_an_operation_that_is_wrong_in_bfloat16_is_noticed(monkeypatch: pytest.MonkeyPatch):
    right = functional.conv2d

    def wrong_in_bfloat16(given: torch.Tensor, weight: torch.Tensor, **options: object) -> torch.Tensor:
        output = right(given, weight, **options)  # type: ignore[arg-type]
        return output * 1.2 if given.dtype == torch.bfloat16 else output

    monkeypatch.setattr(functional, "conv2d", wrong_in_bfloat16)

    assert compare_call(convolution()).difference == pytest.approx(0.2, abs=0.01)


def test_numbers_that_are_none_are_as_wrong_as_can_be(monkeypatch: pytest.MonkeyPatch):
    right = functional.linear
    monkeypatch.setattr(
        functional,
        "linear",
        lambda given, weight: right(given, weight) * (float("nan") if given.dtype == torch.bfloat16 else 1.0),
    )

    assert compare_call(LINEAR).difference == 1.0


@pytest.mark.parametrize("frozen", [{"input_grad": False}, {"weight_grad": False}])
def test_only_the_gradients_that_training_needs_are_computed(frozen: dict[str, bool]):
    call = Call(**{**vars(LINEAR), "input_grad": False, "weight_grad": False})
    partly = Call(**{**vars(LINEAR), **frozen})

    assert compare_call(call).difference < WRONG
    assert compare_call(partly).difference < WRONG


def test_calls_are_added_up_by_kind_as_often_as_they_are_made():
    other = convolution(padding=(0, 0))
    times = {
        convolution(): Compared(float32_s=1.0, bfloat16_s=0.5, difference=0.1),
        other: Compared(float32_s=2.0, bfloat16_s=3.0, difference=0.2),
        LINEAR: Compared(float32_s=10.0, bfloat16_s=20.0, difference=0.0),
    }

    first, second = compare_kinds({convolution(): 3, other: 2, LINEAR: 1}, compare=lambda call: times[call])

    assert (first.name, first.float32_s) == ("linear layers", 10.0)
    assert (second.float32_s, second.bfloat16_s, second.difference) == (7.0, 7.5, 0.2)
