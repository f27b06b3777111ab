from __future__ import annotations

from collections import Counter

import pytest
import torch
from detectron2.layers import Conv2d
from torch import nn

from launcher.train.bfloat16.calls import Call, noting_calls


def calls_of(model: nn.Module, *shape: int) -> Counter[Call]:
    calls: Counter[Call] = Counter()
    with noting_calls(model, calls):
        model(torch.zeros(shape))
    return calls


@pytest.mark.parametrize(
    ("layer", "shape", "kind"),
    [
        (nn.Linear(8, 4), (2, 8), "linear layers"),
        (nn.Conv2d(4, 4, 3), (1, 4, 8, 8), "3x3 convolutions"),
        (Conv2d(4, 4, 1, stride=2), (1, 4, 8, 8), "1x1 convolutions of stride 2"),
        (nn.Conv2d(4, 4, (3, 1), dilation=2), (1, 4, 8, 8), "3x1 dilated convolutions"),
        (nn.Conv2d(4, 4, 3, groups=2), (1, 4, 8, 8), "3x3 grouped convolutions"),
        (nn.ConvTranspose2d(4, 4, 2, stride=2), (1, 4, 8, 8), "2x2 transposed convolutions of stride 2"),
    ],
)
def test_a_layer_is_named_as_people_name_it(layer: nn.Module, shape: tuple[int, ...], kind: str):
    (call,) = calls_of(nn.Sequential(layer), *shape)

    assert call.kind == kind


def test_equal_calls_are_counted_and_others_told_apart():
    layer = nn.Conv2d(4, 4, 3, padding=1)

    calls = calls_of(nn.Sequential(layer, layer, nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(2), layer), 1, 4, 8, 8)

    # The first has an input that needs no gradient.
    assert sorted((call.input_shape[-1], call.input_grad, number) for call, number in calls.items()) == [
        (4, True, 1),
        (8, False, 1),
        (8, True, 2),
    ]


def test_a_frozen_layer_needs_no_gradient_of_its_weights():
    (call,) = calls_of(nn.Sequential(nn.Linear(8, 4).requires_grad_(False)), 2, 8)

    assert not call.weight_grad


def test_calls_with_nothing_in_them_do_not_count():
    assert not calls_of(nn.Sequential(nn.Linear(8, 4)), 0, 8)


def test_afterwards_the_model_is_not_watched_any_more():
    model, calls = nn.Sequential(nn.Linear(8, 4)), Counter[Call]()

    with noting_calls(model, calls):
        pass
    model(torch.zeros(2, 8))

    assert not calls
