from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor

from launcher.errors import RequestError
from launcher.train.prediction.batches import BatchPredictor, on_cpu
from launcher.train.prediction.inputs import inputs_for
from launcher.train.prediction.model import build_for_inference
from launcher.train.trainer import Trainer
from tests.train.prediction.models import KINDS, draw_weights, photo, small_cfg


def are_equal(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Bit for bit."""
    return found.keys() == expected.keys() and all(_same(found[key], expected[key]) for key in found)


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, torch.Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(found, tuple | list):
        return len(found) == len(expected) and all(map(_same, found, expected))
    if hasattr(found, "get_fields"):
        ours, theirs = found.get_fields(), expected.get_fields()
        return found.image_size == expected.image_size and ours.keys() == theirs.keys() and are_equal(ours, theirs)
    if hasattr(found, "tensor"):
        return _same(found.tensor, expected.tensor)
    return bool(found == expected)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_detectron2s_predictor_bit_for_bit(kind: str, tmp_path: Path):
    cfg = small_cfg(kind)
    draw_weights(cfg, tmp_path / "weights.pth")
    theirs = DefaultPredictor(cfg)
    ours = BatchPredictor(build_for_inference(Trainer, cfg, averaged=False), inputs_for(Trainer, cfg))

    for image in (photo(), photo(120, 60, seed=1)):
        found = on_cpu(ours.predict([ours.inputs(image)])[0])
        assert are_equal(found, theirs(image))
        if kind not in ("panoptic", "semantic"):
            assert len(found["instances"]) > 0


def test_a_model_of_rgb_images_gets_them_in_that_order(tmp_path: Path):
    cfg = small_cfg("RetinaNet", INPUT__FORMAT="RGB")
    draw_weights(cfg, tmp_path / "weights.pth")
    ours = BatchPredictor(build_for_inference(Trainer, cfg, averaged=False), inputs_for(Trainer, cfg))

    assert are_equal(ours.predict([ours.inputs(photo())])[0], DefaultPredictor(cfg)(photo()))


def test_several_images_at_once_are_found_to_hold_what_each_alone_holds(tmp_path: Path):
    cfg = small_cfg("mask")
    draw_weights(cfg, tmp_path / "weights.pth")
    predictor = BatchPredictor(build_for_inference(Trainer, cfg, averaged=False), inputs_for(Trainer, cfg))
    inputs = [predictor.inputs(photo(seed=seed)) for seed in range(3)]

    together = predictor.predict(inputs)

    for one, input_ in zip(together, inputs, strict=True):
        alone = predictor.predict([input_])[0]
        assert torch.allclose(one["instances"].scores, alone["instances"].scores, atol=1e-4)
        assert torch.allclose(one["instances"].pred_boxes.tensor, alone["instances"].pred_boxes.tensor, atol=0.1)


def test_a_model_of_images_without_color_is_refused():
    with pytest.raises(RequestError, match=r"INPUT\.FORMAT=L: predictions are made on images in BGR or RGB"):
        inputs_for(Trainer, small_cfg("box", INPUT__FORMAT="L"))


def test_the_weights_of_another_model_are_refused_with_how_much_of_them_fits(tmp_path: Path):
    cfg, other = small_cfg("box"), small_cfg("mask", MODEL__ROI_HEADS__NUM_CLASSES=3)
    draw_weights(cfg, tmp_path / "weights.pth")
    other.MODEL.WEIGHTS = cfg.MODEL.WEIGHTS

    why = (
        r"weights\.pth holds another model: \d+ of \d+ tensors .* fit, of \d+ .*of another shape: .*MODEL\.WEIGHTS=PATH"
    )
    with pytest.raises(RequestError, match=f"(?s){why}"):
        build_for_inference(Trainer, other, averaged=False)


@pytest.mark.parametrize(("averaged", "expected"), [(True, 2.0), (False, 1.0)])
def test_averaged_weights_are_taken_where_they_are_meant(tmp_path: Path, averaged: bool, expected: float):
    cfg = small_cfg("RetinaNet")
    draw_weights(cfg, tmp_path / "weights.pth")
    state = torch.load(cfg.MODEL.WEIGHTS, weights_only=True)
    name = "head.cls_score.bias"
    state["model"][name] = torch.full_like(state["model"][name], 1.0)
    state["ema"] = {"updates": 1, "weights": {name: torch.full_like(state["model"][name], 2.0)}}
    torch.save(state, cfg.MODEL.WEIGHTS)

    model = build_for_inference(Trainer, cfg, averaged=averaged)

    assert set(dict(model.named_parameters())[name].tolist()) == {expected}
    assert not model.training


def test_an_image_keeps_its_size_in_what_is_found(tmp_path: Path):
    cfg = small_cfg("box")
    draw_weights(cfg, tmp_path / "weights.pth")
    predictor = BatchPredictor(build_for_inference(Trainer, cfg, averaged=False), inputs_for(Trainer, cfg))

    found = predictor.predict([predictor.inputs(np.ascontiguousarray(photo(50, 130)))])[0]

    assert found["instances"].image_size == (50, 130)
