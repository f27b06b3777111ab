"""A training on two nodes, which two agents of torchrun on this machine pretend to be."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.run.paths import RunPaths

pytestmark = pytest.mark.slow

Agents = Callable[..., "list[tuple[int, str]]"]
Launch = Callable[..., "subprocess.CompletedProcess[str]"]
# As little as can be that sees the images of one process alone.
BATCH = (
    *("SOLVER.IMS_PER_BATCH=4", "MODEL.RESNETS.NORM=FrozenBN", "MODEL.FPN.NORM=GN", "MODEL.FPN.OUT_CHANNELS=32"),
    *("INPUT.RANDOM_FLIP=none", "DATALOADER.ASPECT_RATIO_GROUPING=False", "SOLVER.WARMUP_ITERS=0"),
    *("SOLVER.BASE_LR=0.0005", "DATASETS.TEST=[]", "device=cpu", "run.root=runs"),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def agents(tmp_path: Path, launcher_environment: dict[str, str]) -> Agents:
    """Run `torchrun --nnodes=2 ... launcher ARGUMENTS` on both nodes; how each ended, and what it printed."""

    def run(*arguments: str, per_node: int = 1) -> list[tuple[int, str]]:
        port = free_port()
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--nproc-per-node={per_node}"),
            *("--master-addr=127.0.0.1", f"--master-port={port}"),
        ]
        started = [
            subprocess.Popen(
                [*command, f"--node-rank={node}", "-m", "launcher", *arguments],
                cwd=tmp_path,
                env=launcher_environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for node in (0, 1)
        ]
        outputs = [process.communicate(timeout=400)[0] for process in started]
        return [(process.returncode, output) for process, output in zip(started, outputs, strict=True)]

    return run


def the_run(folder: Path, name: str) -> RunPaths:
    (found,) = (folder / "runs").glob(f"*/{name}")
    return RunPaths(found)


def losses(run: RunPaths) -> list[float]:
    return [json.loads(line)["total_loss"] for line in run.metrics.read_text().splitlines()]


@pytest.mark.timeout(600)
def test_two_processes_on_each_of_two_nodes_train_like_one_process(
    tmp_path: Path,
    agents: Agents,
    launch: Callable[..., subprocess.CompletedProcess[str]],
    demo_settings: tuple[str, ...],
):
    settings = ("train", *demo_settings, *BATCH, "SOLVER.MAX_ITER=4")

    ends = agents(*settings, "device.count=2", "run.name=nodes")
    launch(*settings, "run.name=alone")

    assert [code for code, _ in ends] == [0, 0], ends
    nodes, alone = the_run(tmp_path, "nodes"), the_run(tmp_path, "alone")
    assert losses(nodes) == pytest.approx(losses(alone), rel=0.15)
    assert losses(nodes)[3] != losses(nodes)[0]
    logs = sorted(path.name for path in nodes.attempt(1).folder.glob("log*"))
    assert logs == ["log.rank1.txt", "log.rank2.txt", "log.rank3.txt", "log.txt"]
    assert "device: cpu x 2 processes on each of 2 nodes" in ends[0][1]
    assert "device:" not in ends[1][1]
    assert not (nodes.folder / ".nodes").exists()


@pytest.mark.timeout(600)
def test_the_outcome_has_what_the_agents_exit_code_hides(
    tmp_path: Path, agents: Agents, demo_settings: tuple[str, ...]
):
    diverging = (*BATCH, "SOLVER.BASE_LR=1e12", "run.name=diverging")

    ends = agents("train", *demo_settings, *diverging)

    outcome = json.loads(the_run(tmp_path, "diverging").attempt(1).outcome.read_text())
    assert (outcome["code"], outcome["exit_code"]) == ("run.diverged", 1)
    assert [code for code, _ in ends] == [1, 1]
    assert "loss" in ends[0][1]
