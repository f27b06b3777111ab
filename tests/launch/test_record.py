from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from launcher.config.request import RunRequest, RunSettings
from launcher.errors import RequestError
from launcher.files import write_text
from launcher.launch.record import archive, record_start
from launcher.run import identity
from launcher.run.attempts import read_attempts
from launcher.run.folder import Previous, last_outcome, look_at_folder, previous_from
from launcher.run.frozen import read_frozen
from launcher.run.outcome import Ending
from launcher.run.paths import RunPaths
from launcher.run.plan import Lessons
from tests.device.recorded import NO_GPU
from tests.recorded_runs import BEGAN, begin, record_run, stopped_after, with_max_iter
from tests.values import CPU, NO_DATA, TRAINING, TYPED, a_plan, a_request


def request_in(root: Path, *, resume: str = "auto", weights: str = "") -> RunRequest:
    return a_request(
        {"OUTPUT_DIR": "./output", "MODEL": {"WEIGHTS": weights}},
        typed=dataclasses.replace(TYPED, experiment="coco"),
        run=RunSettings(root=str(root)),
        resume=resume,
    )


def test_looking_at_a_run_that_does_not_exist_makes_nothing(tmp_path: Path):
    facts = look_at_folder(request_in(tmp_path / "runs"))

    assert (facts.attempts, facts.previous, facts.unwritable) == (0, None, "")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("weights", "missing"),
    [("", False), ("detectron2://a/b.pkl", False), ("https://host/b.pth", False), ("nowhere.pth", True)],
)
def test_only_plain_paths_of_weights_can_be_missing(tmp_path: Path, weights: str, missing: bool):
    assert look_at_folder(request_in(tmp_path, weights=weights)).weights_missing is missing


@pytest.mark.parametrize(
    ("name", "kind", "wrong"),
    [
        ("attempts", "file", "no folder"),
        ("checkpoints", "pipe", "no folder"),
        ("metrics.json", "pipe", "no plain file"),
    ],
)
def test_something_of_another_kind_under_a_name_of_ours_is_told_with_the_plan(
    name: str, kind: str, wrong: str, tmp_path: Path
):
    place = identity.run_folder(request_in(tmp_path)) / name
    place.parent.mkdir(parents=True)
    {"file": Path.touch, "pipe": os.mkfifo}[kind](place)

    assert look_at_folder(request_in(tmp_path)).unwritable == f"{place} is {wrong}"


def test_what_an_evaluation_of_detectron2s_own_has_left_is_somebody_elses(tmp_path: Path):
    left = identity.run_folder(request_in(tmp_path)) / "inference" / "coco_instances_results.json"
    left.parent.mkdir(parents=True)
    left.touch()

    assert look_at_folder(request_in(tmp_path)).foreign == (left.name,)


def test_a_file_in_the_way_of_the_run_folder_is_named(tmp_path: Path):
    (tmp_path / "coco").write_text("")

    assert f"{tmp_path / 'coco'} is a file" in look_at_folder(request_in(tmp_path)).unwritable


def test_resume_takes_a_file_or_another_run(tmp_path: Path):
    other = RunPaths(tmp_path / "other")
    other.checkpoints.mkdir(parents=True)
    torch.save({"iteration": 4}, other.checkpoint(4))

    of_file = look_at_folder(request_in(tmp_path, resume=str(other.checkpoint(4))))
    of_run = look_at_folder(request_in(tmp_path, resume=str(other.folder)))
    of_nothing = look_at_folder(request_in(tmp_path, resume=str(tmp_path / "missing.pth")))

    assert of_file.resume_file is not None
    assert of_run.resume_file is not None
    assert of_run.resume_file.next_iteration == 5
    assert of_nothing.resume_file_problem == "there is no such file"


def test_a_broken_request_file_is_refused_by_name(tmp_path: Path):
    folder = tmp_path / "coco" / "default"
    folder.mkdir(parents=True)
    (folder / "request.yaml").write_text("[unclosed")

    with pytest.raises(RequestError, match=r"request\.yaml.*run\.name"):
        look_at_folder(request_in(tmp_path))


@pytest.mark.parametrize(
    ("files", "foreign"),
    [
        (
            ["model_0000002.pth", "last_checkpoint", "metrics.json"],
            ["metrics.json", "last_checkpoint", "model_0000002.pth"],
        ),
        (["metrics.json", "request.yaml"], []),
        (["metrics.json", "attempts/1/plan.json"], []),
        (["notes.txt", "config.yaml", "model_of_mine.pth"], []),
    ],
)
def test_a_training_of_somebody_else_is_told_from_a_run(tmp_path: Path, files: list[str], foreign: list[str]):
    for name in files:
        write_text(tmp_path / "coco" / "default" / name, "identity: {a: 1}")

    assert look_at_folder(request_in(tmp_path)).foreign == tuple(foreign)


def test_archiving_never_overwrites(tmp_path: Path):
    for content in ("first", "second"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "file").write_text(content)
        archive(tmp_path / "run")

    assert (tmp_path / "run.1" / "file").read_text() == "first"
    assert (tmp_path / "run.2" / "file").read_text() == "second"


def test_an_attempt_without_a_plan_or_with_a_wrong_request_says_nothing_about_the_run(tmp_path: Path):
    request = request_in(tmp_path)
    paths = RunPaths(Path(look_at_folder(request).folder))
    write_text(paths.attempt(1).plan, json.dumps({"detectron2": {"SEED": 5}, "identity": {"a": 1}}))
    write_text(paths.attempt(2).plan, json.dumps({"detectron2": {"SEED": 6}, "identity": {"a": 2}}))
    write_text(paths.attempt(2).outcome, json.dumps({"exit_code": 2}))
    paths.attempt(3).folder.mkdir()

    facts = look_at_folder(request)

    assert facts.previous is not None
    assert (facts.attempts, facts.previous.seed, facts.previous.identity) == (3, 5, {"a": 1})


@pytest.mark.parametrize("text", ["", "\n", "{}", "null", '{"ending": "finished"}', "\0\0"])
def test_a_damaged_outcome_counts_as_none(tmp_path: Path, text: str):
    write_text(RunPaths(tmp_path).attempt(1).outcome, text)

    assert last_outcome(tmp_path) is None


FIRST_VERSION = {
    "identity": {"a": 1},
    "detectron2": {"SEED": 5},
    "begun_with": 2,
    "devices": {"kind": "cpu", "num_processes": 3, "precision": "float16"},
    "train_checksum": 7,
    "lessons": {"micro_batch": 4, "in_vain": 2, "mask_driver": True},
}


def test_a_plan_for_several_nodes_counts_the_processes_of_all():
    assert previous_from({**FIRST_VERSION, "nodes": {"count": 2, "rank": 0}}).num_processes == 6


def test_a_plan_of_the_first_version_is_understood(tmp_path: Path):
    paths = RunPaths(tmp_path / "coco" / "default")
    write_text(paths.attempt(1).plan, json.dumps(FIRST_VERSION))

    assert look_at_folder(request_in(tmp_path)).previous == Previous(
        identity={"a": 1},
        seed=5,
        begun_with=2,
        num_processes=3,
        kind="cpu",
        precision="float16",
        train_checksum=7,
        val_checksum=0,
        lessons=Lessons(micro_batch=4),
    )


def test_a_plan_as_it_is_written_now_is_understood(tmp_path: Path):
    keys = {"SEED": 5, "SOLVER": {"MAX_ITER": 6}}
    plan = a_plan(
        keys,
        folder=str(tmp_path / "coco" / "default"),
        identity={"a": 1},
        data=dataclasses.replace(NO_DATA, train_checksum=7),
        task=dataclasses.replace(TRAINING, begun_with=2),
        devices=dataclasses.replace(CPU, num_processes=3, precision="float16"),
        lessons=Lessons(micro_batch=4, in_vain=2, hide_driver=True),
    )
    record_start(a_request(keys), plan, NO_GPU, ["launcher", "train"], {}, at=1000.0)

    assert look_at_folder(request_in(tmp_path)).previous == previous_from(FIRST_VERSION)


def test_an_outcome_of_the_first_version_says_what_was_done(tmp_path: Path):
    first = {
        "ending": "finished", "exit_code": 0, "iterations": 30, "metrics": {"bbox/AP": 1.0}, "seconds": 2.0,
        "explanation": "", "traceback": "", "cause": "none",
    }  # fmt: skip
    write_text(RunPaths(tmp_path).attempt(1).outcome, json.dumps(first))

    outcome = last_outcome(tmp_path)

    assert outcome is not None
    assert (outcome.ending, outcome.code, outcome.fault) == (Ending.finished, "", None)
    assert (outcome.work.iterations, outcome.work.metrics) == (30, {"bbox/AP": 1.0})


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"version": 9, "identity": {"a": 1}}', '{"version": 2, "identity": 3}'],
    ids=["brackets", "later", "earlier"],
)
def test_a_plan_that_is_damaged_or_of_another_version_is_a_sentence(tmp_path: Path, text: str):
    paths = RunPaths(tmp_path / "coco" / "default")
    write_text(paths.attempt(1).plan, text)
    write_text(paths.request, "[" * 100_000)

    with pytest.raises(RequestError, match=r"identifies this run but cannot be read.*run\.name"):
        look_at_folder(request_in(tmp_path))


def test_only_numbers_are_attempts(tmp_path: Path):
    for name in ("1", "\u00b2", "007", "1x", "9" * 200):
        (tmp_path / "attempts" / name).mkdir(parents=True)

    assert RunPaths(tmp_path).attempt_numbers() == [1]


def test_every_attempt_says_what_it_was_started_with_and_the_latest_request_is_the_one_that_is_frozen(tmp_path: Path):
    record_run(tmp_path / "run", stopped_after(10), request=with_max_iter(20))
    plan = begin(tmp_path / "run", attempt=2, request=with_max_iter(30))

    first, second = read_attempts(plan.paths)

    assert first.started is not None
    assert second.started is not None
    assert (first.started.iterations, second.started.iterations) == (20, 30)
    assert (second.started.at, second.started.process, second.started.device) == (BEGAN + 120, os.getpid(), "cpu")
    assert all(plan.paths.attempt(number).provenance.exists() for number in (1, 2))
    frozen = read_frozen(tmp_path / "run")
    assert frozen.request.keys["SOLVER.MAX_ITER"] == 30
    assert frozen.working_directory == os.getcwd()
