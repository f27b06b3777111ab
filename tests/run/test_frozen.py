"""A request that was written down is the request that is read back, in its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.config.compose import run_hydra
from launcher.config.frozen import as_composed
from launcher.config.request import CheckpointSettings, DeviceChoice, DeviceRequest, RunRequest, RunSettings
from launcher.errors import RequestError
from launcher.launch.record import write_request
from launcher.run.frozen import read_frozen
from launcher.run.identity import identity_of, run_folder
from launcher.run.paths import RunPaths
from tests.recorded_runs import KEYS, plan_a_run
from tests.values import TYPED, a_request

REQUEST = a_request(
    KEYS,
    device=DeviceRequest(choice=DeviceChoice.cpu, ids=[1, "GPU-x"]),
    checkpoint=CheckpointSettings(async_=True, keep_last=5),
)


def test_what_was_asked_comes_back_in_the_runs_own_folder(tmp_path: Path):
    plan_a_run(tmp_path / "run", REQUEST)

    frozen = read_frozen(tmp_path / "run")

    assert replace(frozen.request, keys=REQUEST.keys) == REQUEST
    assert identity_of(frozen.request) == identity_of(REQUEST)
    assert run_folder(frozen.request) == tmp_path / "run"
    assert (frozen.command, frozen.working_directory) == ("launcher train", str(Path.cwd()))


def test_a_folder_that_was_renamed_is_continued_where_it_is(tmp_path: Path):
    plan_a_run(tmp_path / "run", REQUEST).folder.rename(tmp_path / "moved")

    assert run_folder(read_frozen(tmp_path / "moved").request) == tmp_path / "moved"


def test_a_job_of_a_sweep_that_was_renamed_is_continued_where_it_is(tmp_path: Path):
    job = replace(REQUEST, typed=replace(TYPED, in_sweep=True, folder=str(tmp_path / "sweep-a" / "job")))
    plan_a_run(tmp_path / "sweep-a" / "job", job)
    (tmp_path / "sweep-a").rename(tmp_path / "sweep-b")

    assert run_folder(job) == tmp_path / "sweep-a" / "job"
    assert run_folder(read_frozen(tmp_path / "sweep-b" / "job").request) == tmp_path / "sweep-b" / "job"


@pytest.mark.parametrize(
    ("resume", "has_checkpoint", "continued"),
    [
        ("never", True, "auto"),
        ("must", False, "auto"),
        ("auto", False, "auto"),
        ("/a/b.pth", False, "/a/b.pth"),
        ("/a/b.pth", True, "auto"),
    ],
)
def test_what_was_meant_for_one_start_is_not_repeated(
    tmp_path: Path, resume: str, has_checkpoint: bool, continued: str
):
    once = RunSettings(allow_changes=["SEED"], in_place=True, retries=7)
    paths = plan_a_run(tmp_path / "run", replace(REQUEST, resume=resume, run=once))
    if has_checkpoint:
        paths.checkpoints.mkdir()
        paths.checkpoint(3).touch()

    request = read_frozen(tmp_path / "run").request

    assert request.resume == continued
    assert request.run == RunSettings(retries=7)


def test_a_request_of_before_there_was_a_setting_has_its_default(tmp_path: Path):
    paths = plan_a_run(tmp_path / "run", REQUEST)
    stored = yaml.safe_load(paths.request.read_text())
    del stored["ema"], stored["checkpoint"]["keep_last"], stored["working_directory"]
    paths.request.write_text(yaml.safe_dump(stored))
    paths.first_provenance.write_text('{"working_directory": "/where/it/was"}')

    frozen = read_frozen(tmp_path / "run")

    assert (frozen.request.ema.decay, frozen.request.checkpoint.keep_last) == (0, 2)
    assert frozen.working_directory == "/where/it/was"


UNREADABLE = ["", "[", "null", "identity: {a: 1}", "keys: 3", "keys: {SOLVER: {}}"]


@pytest.mark.parametrize("text", [*UNREADABLE, pytest.param("[" * 100_000, id="brackets")])
def test_a_request_that_cannot_be_read_is_a_sentence(tmp_path: Path, text: str):
    plan_a_run(tmp_path / "run").request.write_text(text)

    with pytest.raises(RequestError, match=r"request\.yaml says what .* was asked for, but it .*Run the command"):
        read_frozen(tmp_path / "run")


def composed(*arguments: str, **options: Any) -> RunRequest:
    requests: list[RunRequest] = []
    run_hydra(arguments, requests.append, **options)
    return requests[0]


@pytest.fixture
def frozen(tmp_path: Path) -> RunRequest:
    """A real request, frozen and read back."""
    asked = composed("experiment=demo", "SOLVER.STEPS=[3,5]", "checkpoint.async=true", "resume=must")
    asked = replace(asked, run=replace(asked.run, name="a${b}c"))
    (tmp_path / "run").mkdir()
    write_request(asked, {}, RunPaths(tmp_path / "run"), ["launcher"])
    return read_frozen(tmp_path / "run").request


def test_composing_what_is_frozen_gives_the_same_whatever_files_and_variables_say_now(
    frozen: RunRequest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/somewhere/else")

    again = composed(frozen=as_composed(frozen))

    assert replace(again, typed=frozen.typed) == frozen
    assert again.run.name == "a${b}c"
    assert "/somewhere/else" not in str(again)


def test_settings_and_groups_change_what_is_frozen_and_nothing_else(frozen: RunRequest):
    again = composed("SOLVER.MAX_ITER=7", "device=cpu", frozen=as_composed(frozen))

    assert again.keys.changed_from(frozen.keys) == [("SOLVER.MAX_ITER", 300, 7)]
    assert again.device == replace(frozen.device, choice=DeviceChoice.cpu)
    assert replace(again, typed=frozen.typed, keys=frozen.keys, device=frozen.device) == frozen


def test_a_mistake_is_answered_with_a_command_that_composes_with_what_is_frozen(frozen: RunRequest):
    with pytest.raises(RequestError, match=r"(?s)MAX_ITR.*Type:\n  launcher resume x SOLVER\.MAX_ITER=7"):
        composed("SOLVER.MAX_ITR=7", frozen=as_composed(frozen), command="launcher resume x")


def test_the_next_composition_is_one_of_files_again(frozen: RunRequest):
    composed(frozen=as_composed(frozen))

    assert composed("experiment=demo").keys["SOLVER.STEPS"] == []
