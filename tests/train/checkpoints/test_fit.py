from __future__ import annotations

import logging
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone

from launcher.errors import RequestError
from launcher.train.checkpoints.checkpoint import SafeCheckpointer


class Small(torch.nn.Module):
    """Ten tensors: five layers of a weight and a bias each, and a norm's statistics, which do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(4)), torch.nn.BatchNorm1d(2))


def tensors(prefix: str = "", layers: int = 5) -> dict[str, torch.Tensor]:
    state = {name: torch.ones_like(value) for name, value in Small().state_dict().items()}
    return {f"{prefix}{name}": value for name, value in state.items() if int(name.split(".")[1]) < layers}


def load(content: Any, file: Path, query: str = "") -> Small:
    if content is not None:
        torch.save(content, file)
    model = Small()
    SafeCheckpointer(model).load(f"{file}{query}", checkpointables=[])
    return model


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"model": tensors("modelTeacher.")}, "begin with modelTeacher."),
        ({"model": {**tensors("modelStudent.model."), "epoch": 3}}, "begin with modelStudent.model."),
        ({"model": {**tensors("module."), "other": torch.ones(1)}}, "begin with module."),
        (tensors("model."), "begin with model."),
        ({"state_dict": tensors(), "epoch": 7}, "in state_dict"),
        ({"ema": tensors(), "optimizer": {}}, "in ema"),
        ({"model": {"state_dict": tensors()}}, "in state_dict"),
        ({"network": tensors("module."), "step": torch.ones(1)}, "in network"),
    ],
)
def test_what_fits_nothing_is_refused_and_the_command_that_is_named_makes_it_fit(
    tmp_path: Path, content: Any, named: str
):
    file = tmp_path / "it's w.pth"

    with pytest.raises(RequestError, match=re.escape(named)) as refused:
        load(content, file)

    said, _, command = str(refused.value).partition("python -c ")
    assert str(file) in said
    subprocess.run([sys.executable, "-c", *shlex.split(command)], check=True)
    assert load(None, tmp_path / "it's w-weights.pth").body[0].weight.eq(1).all()


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"a": torch.ones(1)}},
        {"model": {name: torch.ones(7) for name in tensors()}},
        {"model": {}},
        {"epoch": 3},
    ],
)
def test_weights_of_something_else_are_refused_by_the_name_of_the_file(tmp_path: Path, content: Any):
    with pytest.raises(RequestError, match=r"w\.pth"):
        load(content, tmp_path / "w.pth")


def test_names_that_lack_a_prefix_can_be_matched_by_their_ends_as_advised(tmp_path: Path):
    content = {name.removeprefix("body."): value for name, value in tensors().items()}

    with pytest.raises(RequestError, match=r"begin with body\..*w\.pth\?matching_heuristics=True"):
        load(content, tmp_path / "w.pth")

    assert load(None, tmp_path / "w.pth", "?matching_heuristics=True").body[0].weight.eq(1).all()


@pytest.mark.parametrize(
    ("content", "level", "said"),
    [
        (tensors(), logging.INFO, "10 of 10 tensors of .*w.pth fit, of 10 of the model's"),
        (tensors(layers=3), logging.INFO, "6 of 6 tensors of .* fit, of 10 "),
        (tensors(layers=2), logging.WARNING, "ONLY 4 of 4 tensors of .* fit, of 10 "),
        (
            {**tensors(layers=4), **{f"x.{n}": torch.ones(1) for n in range(9)}},
            logging.WARNING,
            "ONLY 8 of 17 tensors of .* fit, of 10 ",
        ),
        (
            {**tensors(layers=2), **tensors("module."), "model": tensors(layers=2)},
            logging.WARNING,
            "ONLY 4 of 4 tensors",
        ),
        ({**tensors(layers=2), **tensors("teacher.")}, logging.WARNING, r"ONLY 4 of 14 .*begin with teacher\."),
    ],
)
def test_how_much_fits_is_said_and_loudly_where_it_is_less_than_half(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: Any, level: int, said: str
):
    with caplog.at_level(logging.INFO, "launcher"):
        load(content, tmp_path / "w.pth")

    ours = [record for record in caplog.records if record.name == "launcher.train.checkpoints.fit"]
    assert [record.levelno for record in ours] == [level]
    assert re.search(said, ours[0].getMessage())


def test_caffe2_weights_of_a_backbone_count_under_the_names_that_detectron2_gives_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Blobs as in the zoo's R-50.pkl, with a classifier that no detector has."""
    cfg = get_cfg()
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2"]
    model = torch.nn.ModuleDict({"bottom_up": build_backbone(cfg)})
    blobs = {"conv1_w": (64, 3, 7, 7), "res_conv1_bn_s": (64,), "res_conv1_bn_b": (64,), "fc1000_w": (1000, 2048)}
    for block in range(3):
        shapes = {"2a": (64, 256 if block else 64, 1, 1), "2b": (64, 64, 3, 3), "2c": (256, 64, 1, 1)}
        for branch, shape in shapes.items():
            name = f"res2_{block}_branch{branch}"
            blobs |= {f"{name}_w": shape, f"{name}_bn_s": shape[:1], f"{name}_bn_b": shape[:1]}
    blobs |= {"res2_0_branch1_w": (256, 64, 1, 1), "res2_0_branch1_bn_s": (256,), "res2_0_branch1_bn_b": (256,)}

    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({k: np.ones(v, np.float32) for k, v in blobs.items()}))

    with caplog.at_level(logging.INFO, "launcher"):
        SafeCheckpointer(model).load(str(tmp_path / "R-50.pkl"), checkpointables=[])

    assert "33 of 34 tensors of" in caplog.text
    assert "of 33 of the model's" in caplog.text
    assert model["bottom_up"].stem.conv1.weight.eq(1).all()
