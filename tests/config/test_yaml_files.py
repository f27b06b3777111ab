from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.config.yaml_files import problems_with_content, with_options_spelled
from launcher.errors import RequestError

GLOBAL = b"# @package _global_\n"


@pytest.fixture
def asking(tmp_path: Path) -> Callable[[bytes], RunRequest]:
    """Compose with an experiment of these bytes."""

    def ask(content: bytes) -> RunRequest:
        (tmp_path / "experiment").mkdir(exist_ok=True)
        (tmp_path / "experiment" / "mine.yaml").write_bytes(content)
        requests: list[RunRequest] = []
        run_hydra(["experiment=mine", "DATASETS.TRAIN=[mine]", "--config-dir", str(tmp_path)], requests.append)
        return requests[0]

    return ask


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        (GLOBAL + b"# k\xf6ln\nSEED: 3\n", ["is not UTF-8 (byte 23 is 0xf6)", "iconv"]),
        ((GLOBAL + b"SEED: 3\n").decode().encode("utf-16"), ["is UTF-16, not UTF-8", "iconv -f utf16 -t utf8"]),
        (
            GLOBAL + b"INPUT: {MIN_SIZE_TRAIN: (640, 800)}\nMODEL: {PIXEL_STD: (1., 1., 1.)}\n",
            ["INPUT.MIN_SIZE_TRAIN: (640, ...) is a tuple", "MIN_SIZE_TRAIN: [640, ...]", "PIXEL_STD: [1., ...]"],
        ),
        (GLOBAL + b"SOLVER:\n\tSTEPS: [3]\n", ["line 3 is not YAML", "tabs"]),
        (GLOBAL + b"- a\n", ["holds a list"]),
        (GLOBAL + b"_BASE_: ../Base-RCNN-FPN.yaml\n", ["defaults:", "override /model: Base-RCNN-FPN"]),
        (GLOBAL + b"INPUT: {MIN_SIZE_TRAIN: '(640, 800)'}\n", ["INPUT.MIN_SIZE_TRAIN", "MIN_SIZE_TRAIN: [640, 800]"]),
        (
            GLOBAL + b"SOLVER: {MAXITER: 3, BASE_LR: fast}\nOTHER: {KEY: 1}\n",
            ["no key SOLVER.MAXITER; nearest: SOLVER.MAX_ITER", "takes a number, not 'fast'", "no key OTHER.KEY"],
        ),
        (GLOBAL + b"OTHER: {KEY: 1}\nSOLVER2: 3\n", ["no key OTHER.KEY", "no key SOLVER2", "config_extensions"]),
    ],
)
def test_mistakes_in_a_file_are_named_all_at_once(asking, content: bytes, answers: list[str]):
    with pytest.raises(RequestError) as refused:
        asking(content)

    assert [answer for answer in answers if answer not in str(refused.value)] == []
    assert "mine.yaml" in str(refused.value)


def test_a_named_pipe_is_no_configuration(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    os.mkfifo(tmp_path / "experiment" / "pipe.yaml")

    with pytest.raises(RequestError, match=r"pipe\.yaml is a named pipe"):
        run_hydra(["experiment=pipe", "--config-dir", str(tmp_path)], print)


@pytest.mark.parametrize("name", ["COCO-Detection/retinanet_R_50_FPN_1x", "COCO-Detection/retinanet_R_50_FPN_1x.yaml"])
def test_a_file_names_a_model_as_the_command_line_does(asking, name: str):
    request = asking(GLOBAL + f"defaults:\n  - override /model: {name}\n".encode())

    assert request.keys["MODEL.META_ARCHITECTURE"] == "RetinaNet"


@pytest.mark.parametrize("value", ["(a) note", "f(x, y)", "(see: here, there)", "()"])
def test_text_in_brackets_is_no_tuple(value: str):
    assert list(problems_with_content({"run": {"name": value}})) == []


def test_other_entries_of_the_defaults_list_stay_as_they_are():
    content = {"defaults": ["a/b", {"override /dataset": "a/b"}, {"model": None}], "SEED": 3}

    assert with_options_spelled(content) == content


LEAVES_A_MARK = b"""hydra:
  job: {env_set: {LEFT_BY_A_FILE: '1'}, chdir: false}
  callbacks: {mine: {_target_: os.mkdir, path: left_by_a_file}}
"""


def test_who_only_looks_runs_nothing_that_a_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(GLOBAL + LEAVES_A_MARK)
    seen: list[str | None] = []

    run_hydra(
        ["experiment=mine", "DATASETS.TRAIN=[mine]", "+hydra.job.env_set.LEFT_BY_HAND=1", "--config-dir", "."],
        lambda _: seen.extend(map(os.environ.get, ("LEFT_BY_A_FILE", "LEFT_BY_HAND"))),
        only_looks=True,
    )
    run_hydra(["experiment=mine", "--config-dir", ".", "--cfg", "job"], print)

    assert seen == [None, None]
    assert not (tmp_path / "left_by_a_file").exists()


def test_a_training_gets_the_environment_that_its_file_sets(tmp_path: Path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(GLOBAL + b"hydra: {job: {env_set: {LEFT_BY_A_FILE: '1'}}}\n")
    seen: list[str | None] = []

    run_hydra(
        ["experiment=mine", "DATASETS.TRAIN=[mine]", "--config-dir", str(tmp_path)],
        lambda _: seen.append(os.environ.get("LEFT_BY_A_FILE")),
    )

    assert seen == ["1"]


@pytest.mark.parametrize("content", [b"A: &a [*a]\n", b"A: " + b"[" * 5000 + b"]" * 5000], ids=["itself", "deep"])
def test_a_file_without_an_end_is_refused_by_name(tmp_path: Path, content: bytes):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(GLOBAL + content)

    # OmegaConf 2.4, which comes with Hydra 1.4, looks for both.
    later = r"YAML recursive aliases are not supported\.$|exceeded maximum nesting depth\."
    with pytest.raises(RequestError, match=rf"mine\.yaml( is nested too deeply|, line 2 is not YAML: ({later}))"):
        run_hydra(["experiment=mine", "--config-dir", str(tmp_path)], print)


def test_a_byte_order_mark_does_not_hide_the_first_line(asking):
    request = asking(b"\xef\xbb\xbf" + GLOBAL + b"SOLVER: {MAX_ITER: 7}\n")

    assert request.keys["SOLVER.MAX_ITER"] == 7


@pytest.mark.parametrize("content", [{"A": "(no end"}, {"A": "(no end", "B": None}, {"A": "(done)", "b)": None}])
def test_a_bracket_alone_is_no_torn_tuple(content: dict[str, str | None]):
    assert list(problems_with_content(content)) == []
