"""What a request asks Slurm for, and what it cannot ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.cluster.job import Measured, cpus_of, lead_of, measured_by, on_the_nodes, problems_with_job
from launcher.config.request import (
    CheckpointSettings,
    ClusterSettings,
    ContainerKind,
    ContainerSettings,
    DeviceChoice,
    DeviceRequest,
    RunRequest,
)
from launcher.run.manifest import Manifest, Milestone, manifest_path, manifest_text
from launcher.run.paths import RunPaths
from tests.cluster.hostile import CONTROL
from tests.values import TYPED, a_request

KEYS = {"SOLVER": {"MAX_ITER": 1000, "CHECKPOINT_PERIOD": 100, "IMS_PER_BATCH": 16}, "DATALOADER": {"NUM_WORKERS": 4}}
NOTHING = Measured(save_s=None, iteration_s=None)


def asking(*, count: Any = 1, choice: str = "auto", minutes: float = 0, **cluster: Any) -> RunRequest:
    return a_request(
        KEYS,
        cluster=ClusterSettings(**{"gpus_per_node": 8, **cluster}),
        device=DeviceRequest(choice=DeviceChoice(choice), count=count),
        checkpoint=CheckpointSettings(every_minutes=minutes),
    )


def in_container(kind: str = "none", **container: Any) -> RunRequest:
    return asking(container=ContainerSettings(kind=ContainerKind(kind), **container))


def problems(request: RunRequest, measured: Measured = NOTHING) -> str:
    return "\n".join(problems_with_job(on_the_nodes(request), measured))


@pytest.mark.parametrize(
    "request_",
    [
        asking(),
        asking(count=8),
        asking(nodes=2),
        in_container("apptainer", image="/images/detectron2.sif", mounts=["/data"]),
        asking(nodes=4, gpus_per_node=0, choice="cpu", count=4),
        asking(count="all"),
        asking(gpus_per_node=0, choice="cpu", count=3),
        asking(time="24:00:00", partition="gpu", options=["--exclude=n[1-3]", "--exclusive"]),
        asking(time=10),
    ],
)
def test_what_can_be_asked_for_has_no_problem(request_: RunRequest):
    assert problems(request_) == ""


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            asking(nodes=4),
            "cluster.gpus_per_node=8: SOLVER.IMS_PER_BATCH=16 cannot be shared equally by 32",
        ),
        (asking(nodes=3, gpus_per_node=0, choice="cpu"), "cluster.nodes=3: SOLVER.IMS_PER_BATCH=16 cannot be shared"),
        (in_container(kind="srun"), "cluster.container.kind=srun, but no image is named"),
        (in_container(image="a.sif"), "has an image or mounts, but nothing that starts it"),
        (in_container(kind="apptainer", image="a.sif", mounts=["data"]), "'data' has to be an absolute path"),
        (in_container(kind="apptainer", image="a.sif", mounts=["/a:/b"]), "'/a:/b' has to be an absolute path"),
        (in_container(kind="apptainer", image="a\nb"), "has a control character"),
        (asking(choice="cpu"), "cluster.gpus_per_node=8 asks for GPUs, but device=cpu"),
        (asking(gpus_per_node=0), "a job without GPUs. Ask for some, cluster.gpus_per_node=1, or train on the CPU"),
        (asking(count=4), "cluster.gpus_per_node=8, but device.count=4. Leave device.count out."),
        (asking(gpus_per_node=5), "cluster.gpus_per_node=5: SOLVER.IMS_PER_BATCH=16 cannot be shared equally by 5"),
        (asking(gpus_per_node=32), "cluster.gpus_per_node=32: SOLVER.IMS_PER_BATCH=16 cannot be shared"),
        (asking(time="soon"), "cluster.time=soon is not a time"),
        (asking(time=2, signal_s=120), "would have to stop and save 120 s before the end of a job of 120 s"),
        (asking(time=30, minutes=60), "cluster.time=30 is shorter than one checkpoint period of this run, 60.0 min"),
        (asking(options=["exclude=n3"]), "'exclude=n3' is no option of sbatch"),
        (asking(options=["-x n3"]), "'-x n3' is no option of sbatch"),
        (asking(options=["--time=5"]), "'--time=5' is what cluster.time sets"),
        (asking(options=["--exclude n3"]), "is no option of sbatch. Write it as --NAME=VALUE"),
        (asking(options=["--array=0-3"]), "would train the same run several times at once"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_type(request_: RunRequest, words: str):
    assert words in problems(request_)


@pytest.mark.parametrize("text", CONTROL)
@pytest.mark.parametrize("setting", ["partition", "account", "qos", "constraint", "options", "preamble"])
def test_a_control_character_is_refused_everywhere(setting: str, text: str):
    value = [f"--comment={text}"] if setting == "options" else [text] if setting == "preamble" else text

    assert f"cluster.{setting}" in problems(asking(**{setting: value}))
    assert "has a control character" in problems(asking(**{setting: value}))


def test_every_problem_is_named_at_once():
    assert len(problems(asking(nodes=3, time="soon", options=["x"], partition="a\nb")).splitlines()) == 4


def test_the_signal_leads_by_at_least_twice_the_time_of_a_save():
    measured = Measured(save_s=200.4, iteration_s=None)

    assert lead_of(ClusterSettings(), NOTHING) == 120
    assert lead_of(ClusterSettings(time=10), NOTHING) == 60
    assert lead_of(ClusterSettings(), measured) == 401
    assert lead_of(ClusterSettings(signal_s=500), measured) == 500
    said = problems(asking(signal_s=300), measured)
    assert "cluster.signal_s=300: a save of this run has taken 200.4 s" in said
    assert "Set cluster.signal_s=401" in said
    assert problems(asking(signal_s=401), measured) == ""


def test_a_time_limit_below_a_measured_checkpoint_period_is_refused():
    said = problems(asking(time=30), Measured(save_s=None, iteration_s=60.0))

    assert "cluster.time=30 is shorter than one checkpoint period of this run, 100.0 min" in said
    assert problems(asking(time=30, minutes=10), Measured(save_s=None, iteration_s=60.0)) == ""


def test_the_run_gets_as_many_processes_as_there_are_gpus_unless_it_says_otherwise():
    typed = replace(asking(), typed=replace(TYPED, overrides=("device.count=1",)))

    assert on_the_nodes(asking()).device.count == 8
    assert on_the_nodes(asking(gpus_per_node=0, choice="cpu")).device.count == 1
    assert "device.count=1. Leave device.count out" in problems(typed)


@pytest.mark.parametrize(
    ("request_", "cpus"),
    [
        (asking(), 40),
        (asking(cpus_per_node=12), 12),
        (asking(gpus_per_node=0, choice="cpu", count=2), 10),
        (asking(count="all"), 40),
    ],
)
def test_there_is_a_cpu_for_each_process_and_each_of_its_loader_workers(request_: RunRequest, cpus: int):
    assert cpus_of(on_the_nodes(request_)) == cpus


def test_saves_are_measured_by_the_checkpoints_that_are_there(tmp_path: Path):
    paths = RunPaths(tmp_path)
    paths.checkpoints.mkdir()
    for iteration, save_s in ((4, 1.5), (9, 7.25), (14, None)):
        file = paths.checkpoint(iteration)
        file.touch()
        manifest = Manifest(milestone=Milestone(iteration=iteration), size=0, crc32=0, save_s=save_s)
        manifest_path(file).write_text(manifest_text(manifest))
    paths.metrics.write_text('{"time": 0.5, "iteration": 4}\n')

    assert measured_by(paths) == Measured(save_s=7.25, iteration_s=0.5)
    assert measured_by(RunPaths(tmp_path / "none")) == NOTHING
