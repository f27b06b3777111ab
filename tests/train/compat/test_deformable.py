"""Deformable convolutions by torchvision, compared with plain ones, with detectron2's, and inside a model."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from launcher.train.compat.deformable import DeformConv, ModulatedDeformConv, use_torchvision_deformable

SHAPES: list[dict[str, Any]] = [
    {"padding": 1},
    {"padding": 1, "stride": 2},
    {"padding": 2, "dilation": 2},
    {"padding": 1, "groups": 2},
    {"padding": 1, "deformable_groups": 2},
    {"padding": (0, 1), "kernel_size": (1, 3)},
]


@pytest.fixture(scope="module")
def detectron2s_own() -> types.ModuleType:
    """detectron2's module as it is where the compiled operators are there: without them it hides its classes."""
    from detectron2.layers import deform_conv

    if "detectron2._C" in sys.modules:
        return deform_conv
    copied = importlib.util.spec_from_file_location("detectron2.layers.deform_conv_copy", deform_conv.__file__)
    assert copied is not None
    assert copied.loader is not None
    module = importlib.util.module_from_spec(copied)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "detectron2._C", types.ModuleType("detectron2._C"))
        copied.loader.exec_module(module)
    return module


@pytest.fixture
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts detectron2's names back after the test."""
    from detectron2 import layers
    from detectron2.layers import deform_conv
    from detectron2.modeling.backbone import resnet

    for module in (layers, deform_conv, resnet):
        for name in ("DeformConv", "ModulatedDeformConv"):
            monkeypatch.setattr(module, name, getattr(module, name))


def arguments(shape: Mapping[str, Any]) -> dict[str, Any]:
    return {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **shape}


def plain_convolution(layer: DeformConv | ModulatedDeformConv, x: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def offsets_for(layer: DeformConv | ModulatedDeformConv, x: torch.Tensor, fill: float = 0.0) -> torch.Tensor:
    samples = layer.deformable_groups * layer.kernel_size[0] * layer.kernel_size[1]
    return torch.full((x.shape[0], 2 * samples, *plain_convolution(layer, x).shape[-2:]), fill)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_offsets_it_is_a_plain_convolution(shape: dict[str, Any]):
    layer, x = DeformConv(**arguments(shape)), torch.randn(2, 4, 9, 8)

    assert torch.allclose(layer(x, offsets_for(layer, x)), plain_convolution(layer, x), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_offsets_the_mask_weighs_a_plain_convolution(shape: dict[str, Any]):
    layer, x = ModulatedDeformConv(**arguments(shape)), torch.randn(2, 4, 9, 8)
    nn.init.normal_(layer.bias)
    offset = offsets_for(layer, x)
    mask = torch.full_like(offset[:, ::2], 0.25)

    expected = 0.25 * (plain_convolution(layer, x) - layer.bias[:, None, None]) + layer.bias[:, None, None]
    assert torch.allclose(layer(x, offset, mask), expected, atol=1e-5)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, 2), (-1, 1)])
def test_whole_offsets_shift_the_input_first_down_then_right(down: int, right: int):
    layer, x = DeformConv(4, 6, 3), torch.randn(1, 4, 12, 12)
    offset = offsets_for(layer, x)
    offset[:, 0::2], offset[:, 1::2] = down, right

    shifted = torch.roll(x, (-down, -right), dims=(2, 3))
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # where nothing was rolled in from the other side
    assert torch.allclose(layer(x, offset)[inside], plain_convolution(layer, shifted)[inside], atol=1e-5)


def test_groups_of_offsets_move_their_own_channels():
    layer, x = DeformConv(4, 4, 1, groups=4, deformable_groups=2), torch.randn(1, 4, 6, 6)
    offset = offsets_for(layer, x)
    offset[:, 3] = 1.0  # to the right, for the second half of the channels

    result, unmoved = layer(x, offset), plain_convolution(layer, x)
    assert torch.allclose(result[:, :2], unmoved[:, :2], atol=1e-6)
    assert torch.allclose(result[:, 2:, :, :-1], unmoved[:, 2:, :, 1:], atol=1e-6)


def test_gradients_are_those_of_what_is_computed():
    torch.manual_seed(0)
    layer = ModulatedDeformConv(2, 2, 2, groups=2, deformable_groups=2).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.double, requires_grad=True)
    # Away from whole numbers, where the interpolation has a kink.
    offset = (torch.rand(1, 16, 3, 3, dtype=torch.double) * 0.6 + 0.2).requires_grad_()
    mask = torch.rand(1, 8, 3, 3, dtype=torch.double, requires_grad=True)

    def with_parameters(*inputs: torch.Tensor) -> torch.Tensor:
        *inputs, layer_weight, layer_bias = inputs
        return torch.func.functional_call(layer, {"weight": layer_weight, "bias": layer_bias}, tuple(inputs))

    assert torch.autograd.gradcheck(with_parameters, (x, offset, mask, layer.weight, layer.bias))


def test_no_images_give_no_output_of_the_right_shape():
    layer, x = DeformConv(4, 6, 3, stride=2, padding=1), torch.zeros(0, 4, 9, 8, requires_grad=True)

    result = layer(x, offsets_for(layer, x))

    assert result.shape == (0, 6, 5, 4)
    result.sum().backward()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [DeformConv, ModulatedDeformConv])
def test_parameters_and_their_first_values_are_detectron2s(
    detectron2s_own: types.ModuleType, kind: type[nn.Module], shape: dict[str, Any]
):
    torch.manual_seed(7)
    theirs = getattr(detectron2s_own, kind.__name__)(**arguments(shape), norm=nn.BatchNorm2d(6)).state_dict()
    torch.manual_seed(7)
    ours = kind(**arguments(shape), norm=nn.BatchNorm2d(6)).state_dict()

    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if not {"groups", "deformable_groups"} & shape.keys()])
def test_results_are_those_of_detectron2_where_it_runs_on_the_cpu(
    detectron2s_own: types.ModuleType, shape: dict[str, Any]
):
    ours = DeformConv(**arguments(shape), norm=nn.BatchNorm2d(6), activation=torch.relu)
    theirs = detectron2s_own.DeformConv(**arguments(shape), norm=nn.BatchNorm2d(6), activation=torch.relu)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 9, 8)
    offset = torch.randn_like(offsets_for(ours, x))

    assert torch.equal(ours(x, offset), theirs(x, offset))


def test_what_detectron2_would_not_build_is_not_built():
    with pytest.raises(ValueError, match="DeformConv has no bias"):
        DeformConv(4, 6, 3, bias=True)
    with pytest.raises(ValueError, match="4 and 6 channels cannot be divided into 3 groups"):
        DeformConv(4, 6, 3, groups=3)


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("is_modulated", [False, True])
def test_a_model_with_deformable_stages_trains_on_the_cpu(is_modulated: bool):
    from detectron2 import layers
    from detectron2.modeling import build_model
    from detectron2.structures import Boxes, Instances
    from detectron2.utils.events import EventStorage

    use_torchvision_deformable()
    torch.manual_seed(0)
    model = build_model(tiny_model(is_modulated))
    truth = Instances((64, 64), gt_boxes=Boxes(torch.tensor([[8.0, 8, 48, 40]])), gt_classes=torch.tensor([0]))
    image = {"image": torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8), "instances": truth}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    before = {name: value.clone() for name, value in model.named_parameters() if "conv2_offset" in name}

    with EventStorage():
        sum(model([image]).values()).backward()
    optimizer.step()

    kind = ModulatedDeformConv if is_modulated else DeformConv
    assert getattr(layers, kind.__name__) is kind
    assert sum(isinstance(module, kind) for module in model.modules()) == 4 + 6 + 3
    after = dict(model.named_parameters())
    assert all(not torch.equal(value, after[name]) for name, value in before.items())


def tiny_model(is_modulated: bool) -> Any:
    from detectron2 import model_zoo

    cfg = model_zoo.get_config("Misc/mask_rcnn_R_50_FPN_1x_dconv_c3-c5.yaml")
    settings: dict[str, Any] = {
        "MODEL.DEVICE": "cpu",
        "MODEL.MASK_ON": False,
        "MODEL.BACKBONE.FREEZE_AT": 0,
        "MODEL.RESNETS.DEFORM_MODULATED": is_modulated,
        "MODEL.RESNETS.NORM": "BN",
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
        "MODEL.FPN.OUT_CHANNELS": 16,
        "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    }
    cfg.merge_from_list([part for pair in settings.items() for part in pair])
    return cfg


@pytest.mark.parametrize("layer", [DeformConv(4, 4, 3, padding=1), ModulatedDeformConv(4, 4, 3, padding=1)])
def test_in_bfloat16_on_the_cpu_it_computes_in_float32_and_gives_what_it_got(layer: nn.Module):
    given = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    moved = [torch.zeros(1, 18, 8, 8), torch.ones(1, 9, 8, 8)][: 1 if isinstance(layer, DeformConv) else 2]

    exact = layer(given, *moved)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = layer(given.bfloat16(), *(one.bfloat16() for one in moved))
    rounded.float().sum().backward()

    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0.05)
