"""Addresses of weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from detectron2.checkpoint import DetectionCheckpointer

from launcher.config.checks import problems_with_request
from launcher.config.request import OwnCode, RunRequest
from launcher.config.weights import SCHEMES, problems_with_weights
from tests.config.test_checks import request_with

HANDLER = OwnCode(imports=("my_storage",))


def with_weights(weights: str) -> RunRequest:
    return request_with(**{"MODEL.WEIGHTS": weights})


@pytest.mark.parametrize(
    "weights",
    [
        "",
        "a/b.pth",
        "/a/b.pth?matching_heuristics=True",
        "https://example.org/a.pkl",
        "http://example.org/a.pkl",
        "ftp://example.org/a.pkl",
        "detectron2://COCO-Detection/a.pkl",
        "catalog://ImageNetPretrained/MSRA/R-50",
    ],
)
def test_paths_and_what_detectron2_fetches_are_left_alone(weights: str):
    assert list(problems_with_weights(with_weights(weights))) == []


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("s3://bucket/a.pth", "nothing here can fetch s3://. Known are http://, https://, ftp://"),
        ("gs://bucket/a.pth", "nothing here can fetch gs://"),
        ("detectron://a.pkl", "Did you mean detectron2://?"),
        ("HTTPS://example.org/a.pkl", "Did you mean https://?"),
        ("file:///a/b.pth", "Give the path itself: MODEL.WEIGHTS=/a/b.pth."),
        ("file://localhost/a/b.pth", "Give the path itself: MODEL.WEIGHTS=/a/b.pth."),
        ("file://a/b.pth", "Give the path itself: MODEL.WEIGHTS=a/b.pth."),
        ("file:///a%20b.pth", "Give the path itself: 'MODEL.WEIGHTS=\"/a b.pth\"'."),
        (
            "file:///a.pth?matching_heuristics=True",
            "Give the path itself: 'MODEL.WEIGHTS=\"/a.pth?matching_heuristics=True\"'.",
        ),
    ],
)
def test_an_address_that_nothing_here_fetches_is_refused_with_what_to_type(weights: str, says: str):
    (problem,) = problems_with_request(with_weights(weights))

    assert problem.startswith(f"MODEL.WEIGHTS={weights}: ")
    assert says in problem


def test_code_of_ones_own_may_bring_a_handler():
    assert list(problems_with_weights(replace(with_weights("s3://bucket/a.pth"), own_code=HANDLER))) == []


def test_the_schemes_are_those_that_detectron2_has_handlers_for():
    manager: Any = DetectionCheckpointer.__init__.__globals__["PathManager"]

    assert {f"{scheme}://" for scheme in SCHEMES} == {
        prefix for prefix in manager._path_handlers if "/u/" not in prefix
    }


@pytest.mark.parametrize(
    ("inside", "example"),
    [
        ("", "It holds no .pth or .pkl file. Name a file of weights: MODEL.WEIGHTS=FILE."),
        ("z.pth model_final.pth", "Name a file in it: MODEL.WEIGHTS=run/model_final.pth."),
        ("checkpoints/model_0000009.pth", "Name a file in it: MODEL.WEIGHTS=run/checkpoints/model_0000009.pth."),
    ],
)
def test_a_folder_is_no_file_of_weights(inside: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("run/checkpoints").mkdir(parents=True)
    for name in inside.split():
        Path("run", name).touch()

    assert list(problems_with_weights(with_weights("run"))) == [f"MODEL.WEIGHTS=run is a folder. {example}"]
