from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.cli.inference import compose_request, sort_words
from launcher.cli.main import main
from launcher.config.known_keys import read_keys
from launcher.config.request import DeviceChoice, OwnCode, RunRequest
from launcher.config.task import PredictRequest
from launcher.config.values import to_plain
from launcher.data.plan import CocoSplit
from launcher.errors import RequestError
from launcher.files import write_text
from launcher.run.paths import RunPaths
from tests.values import CPU, NO_DATA, TRAINING, a_plan

MODEL = "model=COCO-Detection/retinanet_R_50_FPN_1x"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(folder: Path, *, version: int = 3, **parts: Any) -> RunPaths:
    """A run whose training has left one checkpoint."""
    keys = read_keys().defaults
    changed = {**keys, "MODEL": {**keys["MODEL"], "WEIGHTS": "start.pkl", "DEVICE": "cpu"}}
    identity = {"dataset": {"kind": "coco_json", "name": "fruit", "train": {"json": "t.json", "images": "t"}}}
    split = CocoSplit(name="fruit_train", json="/data/t.json", images="/data/t")
    data = replace(NO_DATA, splits=(split,), environment={"DETECTRON2_DATASETS": "/data"})
    plan: dict[str, Any] = to_plain(
        a_plan(changed, **{"folder": str(folder), "identity": identity, "data": data, "devices": CPU, **parts})
    )
    if version == 2:
        plan["training"] = {"own_code": plan.pop("own_code"), **plan.pop("task")}
    paths = RunPaths(folder)
    write_text(paths.request, "identity: {}\n")
    write_text(paths.attempt(1).plan, json.dumps({"version": version, **plan}))
    paths.checkpoints.mkdir()
    torch.save({"model": {}}, paths.final_weights)
    return paths


def composed(*words: str) -> RunRequest:
    sorted_words = sort_words(words, command="predict")
    task = PredictRequest(
        run=sorted_words.run,
        checkpoint=sorted_words.checkpoint,
        out="",
        inputs=sorted_words.others,
        threshold=0.5,
        draw=True,
        images_json="",
    )
    return compose_request(task, sorted_words, command="launcher predict")


def test_with_a_model_every_other_word_is_an_image():
    words = sort_words([MODEL, "a.jpg", "device=cpu", "b"], command="predict")

    assert (words.run, words.others, words.settings) == ("", ("a.jpg", "b"), (MODEL, "device=cpu"))


def test_without_one_the_first_word_is_a_run(here: Path):
    make_run(here / "outputs/demo/first")

    words = sort_words(["device=cpu", "first", "a.jpg", "checkpoint=best", "checkpoint.period=3"], command="predict")

    assert words.run == str(here / "outputs/demo/first")
    assert (words.checkpoint, words.others) == ("best", ("a.jpg",))
    assert words.settings == ("device=cpu", "checkpoint.period=3")


def test_a_run_is_meant_by_its_place_although_its_name_has_settings(here: Path):
    make_run(here / "outputs/demo/sweep-BASE_LR/BASE_LR=0.01")

    words = sort_words(["demo/sweep-BASE_LR/BASE_LR=0.01", "device=cpu"], command="eval")

    assert words.run == str(here / "outputs/demo/sweep-BASE_LR/BASE_LR=0.01")
    assert words.settings == ("device=cpu",)


def test_a_file_is_an_image_whatever_it_is_called(here: Path):
    (here / "a=1.jpg").touch()

    assert sort_words([MODEL, "a=1.jpg"], command="predict").others == ("a=1.jpg",)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], r"Whose model\? Name a run, launcher predict RUN, or a model"),
        (["device=cpu"], r"Whose model\?"),
        (["nowhere", "a.jpg"], r"(?s)no run in .* is called 'nowhere'.*without a run, name one: model="),
        (["first", "solver=cosine"], r"solver=cosine would make another model than that of first"),
        ([MODEL, "checkpoint=best"], r"checkpoint=best chooses among a run's; with model=.* set MODEL\.WEIGHTS=PATH"),
    ],
)
def test_whose_model_is_meant_has_to_be_clear(here: Path, words: list[str], why: str):
    make_run(here / "outputs/demo/first")

    with pytest.raises(RequestError, match=why):
        sort_words(words, command="predict")


@pytest.mark.parametrize("version", [2, 3])
def test_the_settings_of_a_run_are_what_the_command_line_changes(here: Path, version: int):
    paths = make_run(here / "outputs/demo/first", version=version)

    request = composed("first", "a.jpg", "MODEL.ROI_HEADS.SCORE_THRESH_TEST=0.3", "device=cpu")

    assert request.keys["MODEL.WEIGHTS"] == str(paths.final_weights)
    assert request.keys["MODEL.ROI_HEADS.SCORE_THRESH_TEST"] == 0.3
    assert request.dataset.train.json == "/data/t.json"
    assert request.dataset.root == "/data"
    assert request.device.choice is DeviceChoice.cpu
    assert request.keys["OUTPUT_DIR"] == "./output"


def test_what_followed_from_the_machine_of_the_training_is_left_behind(here: Path):
    changed = {"setting": "MODEL.DEVICE", "asked": "cuda", "planned": "cpu", "reason": "no NVIDIA GPU"}
    paths = make_run(here / "outputs/demo/first")
    plan = json.loads(paths.attempt(1).plan.read_text())
    plan["devices"]["adjustments"] = [changed]
    write_text(paths.attempt(1).plan, json.dumps(plan))

    request = composed("first", "a.jpg")

    assert request.keys["MODEL.DEVICE"] == "cuda"
    assert request.device.choice is DeviceChoice.auto


def test_weights_that_are_named_are_taken_instead_of_the_runs(here: Path):
    make_run(here / "outputs/demo/first")

    assert composed("first", "a.jpg", "MODEL.WEIGHTS=other.pth").keys["MODEL.WEIGHTS"] == "other.pth"


def test_the_users_own_code_is_the_runs(here: Path):
    make_run(here / "outputs/demo/first", own_code=OwnCode(imports=("mine",), trainer="mine:Trainer"), task=TRAINING)

    own_code = composed("first", "a.jpg").own_code

    assert (own_code.imports, own_code.trainer) == (("mine",), "mine:Trainer")


def test_a_text_that_looks_like_a_reference_stays_as_it_is(here: Path):
    folder = here / "outputs/demo/${HOME}"
    paths = make_run(folder)

    assert composed(str(folder), "a.jpg").keys["MODEL.WEIGHTS"] == str(paths.final_weights)


def test_a_model_of_the_zoo_comes_with_its_own_weights():
    weights = composed(MODEL, "a.jpg").keys["MODEL.WEIGHTS"]

    assert weights.endswith("COCO-Detection/retinanet_R_50_FPN_1x/190397773/model_final_bfca0b.pkl")


def test_weights_that_are_named_are_taken_instead_of_the_zoos():
    assert composed(MODEL, "a.jpg", "MODEL.WEIGHTS=mine.pth").keys["MODEL.WEIGHTS"] == "mine.pth"


def test_a_model_without_weights_of_its_own_is_refused():
    known = read_keys()
    without = next(name for name in known.zoo if name not in known.weights)

    with pytest.raises(RequestError, match=rf"model={without}: detectron2 offers no trained weights of it"):
        composed(f"model={without}", "a.jpg")


def test_what_only_a_training_must_not_be_is_no_problem():
    request = composed(MODEL, "a.jpg", "device.count=3", "SOLVER.IMS_PER_BATCH=16", "DATASETS.TRAIN=[]")

    assert request.device.count == 3
    assert request.keys["DATASETS.TRAIN"] == []


def test_a_run_that_says_nothing_of_its_settings_is_refused(here: Path):
    paths = make_run(here / "outputs/demo/first")
    write_text(paths.attempt(1).plan, "{}")

    with pytest.raises(RequestError, match=r"does not say with which settings.*model=NAME MODEL\.WEIGHTS=PATH"):
        composed("first", "a.jpg")


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ([MODEL], 2, "No image is named"),
        ([MODEL, "nowhere.jpg"], 3, "nowhere.jpg: there is no such file or folder"),
        ([MODEL, "*.gif"], 3, "*.gif: no image matches"),
        ([MODEL, "empty"], 3, "empty is a folder without images"),
        ([MODEL, "film.mp4"], 2, "film.mp4 is a video, which is not supported"),
        ([MODEL, "a.jpg", "--threshold", "2"], 2, "--threshold 2: a score is a number in [0, 1]"),
        ([MODEL, "a.jpg", "--threshold=high"], 2, "--threshold high: a score is a number in [0, 1]"),
        ([MODEL, "a.jpg", "--out", "full"], 2, "full holds files that are not of an evaluation or prediction"),
        ([MODEL, "a.jpg", "MODEL.WEIGHTS=no.pth"], 2, "MODEL.WEIGHTS=no.pth, but there is no such file"),
        ([MODEL, "a.jpg", "resume=other"], 2, "resume=other: an evaluation or prediction continues by itself"),
        (["nowhere", "a.jpg"], 2, "is called 'nowhere'"),
        (["unsaved", "a.jpg"], 2, "holds no checkpoint: its training has not saved one yet"),
        ([MODEL, "a.jpg", "--thresholds", "0.1"], 2, "nrecognized arguments"),
        ([MODEL, "a.jpg", "device=gpu"], 2, "device"),
    ],
)
def test_a_mistake_gets_a_sentence(
    here: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, why: str
):
    for name in ("a.jpg", "film.mp4", "full/notes.txt"):
        write_text(here / name, "")
    (here / "empty").mkdir()
    make_run(here / "outputs/demo/unsaved").final_weights.unlink()

    status = main(["predict", *arguments])

    error = capfd.readouterr().err
    assert status == code
    assert why in error
    assert "Traceback" not in error
    assert not list(here.glob("outputs/predictions/*/attempts"))


@pytest.mark.parametrize(
    ("typed", "corrected"),
    [
        (["eval", "first", "BASE_LR=1"], "launcher eval first SOLVER.BASE_LR=1"),
        (
            ["eval", "checkpoint=final", "first", "BASE_LR=1", "--out", "there", "device=cpu"],
            "launcher eval checkpoint=final first --out there SOLVER.BASE_LR=1 device=cpu",
        ),
        (
            ["eval", "first", "second", "BASE_LR=1", "--compare"],
            "launcher eval first second --compare SOLVER.BASE_LR=1",
        ),
        (
            ["predict", "first", "a b.jpg", "BASE_LR=1", "--threshold=0.3"],
            "launcher predict first 'a b.jpg' --threshold=0.3 SOLVER.BASE_LR=1",
        ),
        (["predict", MODEL, "a b.jpg", "BASE_LR=1"], f"launcher predict 'a b.jpg' {MODEL} SOLVER.BASE_LR=1"),
        (["data", "check", "--json", MODEL, "BASE_LR=1"], f"launcher data check --json {MODEL} SOLVER.BASE_LR=1"),
        (["data", "show", "--n", "4", MODEL, "BASE_LR=1"], f"launcher data show --n 4 {MODEL} SOLVER.BASE_LR=1"),
    ],
)  # fmt: skip
def test_the_last_part_of_a_key_is_answered_with_the_whole_command(
    here: Path, capfd: pytest.CaptureFixture[str], typed: list[str], corrected: str
):
    write_text(here / "a b.jpg", "")
    for name in ("first", "second"):
        make_run(here / "outputs/demo" / name)

    assert main(typed) == 2

    error = capfd.readouterr().err
    assert "BASE_LR=1: detectron2 has no key BASE_LR; nearest: SOLVER.BASE_LR" in error
    assert error.splitlines()[-2:] == ["Type:", f"  {corrected}"]
