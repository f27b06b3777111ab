"""The simulated NVIDIA machine, compiled once for all device tests, and the real torch on many of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import launcher.device
from launcher.device.child_journal import how_it_ended, read_journal
from launcher.device.children import ChildAnswer
from launcher.device.facts import ChildEnd, TorchFacts
from launcher.device.probe import torch_facts
from tests.fakegpu import FakeGpu, Machine, why_not_compiled

TORCH_CHILD = Path(launcher.device.__file__).with_name("child_torch.py")


@dataclass(frozen=True, kw_only=True)
class TorchScenario:
    """A simulated machine, and what the torch child is told to look at there."""

    machine: Machine
    told: Mapping[str, Any]
    environ: Mapping[str, str] = field(default_factory=dict)


AskTorch = Callable[..., dict[str, TorchFacts]]


@pytest.fixture(scope="session")
def fakegpu(tmp_path_factory: pytest.TempPathFactory) -> FakeGpu:
    if why_not := why_not_compiled():
        pytest.skip(why_not)
    return FakeGpu(tmp_path_factory.mktemp("fakegpu"))


@pytest.fixture(scope="session")
def plain_environ() -> dict[str, str]:
    """This process's environment without what would steer CUDA."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CUDA_", "NVIDIA_", "SLURM_", "PYTORCH_", "FAKEGPU")) and name != "LD_PRELOAD"
    }


@pytest.fixture(scope="session")
def ask_torch(fakegpu: FakeGpu, plain_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AskTorch:
    """The torch child's answers on many machines, from one process that imported torch once.

    `alive=False` leaves the CUDA runtime to the real library, which comes no further than the driver.
    """

    def ask(scenarios: Mapping[str, TorchScenario], *, alive: bool = True) -> dict[str, TorchFacts]:
        folder = tmp_path_factory.mktemp("forks")
        asked = [written(scenario, folder / name) for name, scenario in scenarios.items()]
        (folder / "scenarios.json").write_text(json.dumps(asked))
        environ = fakegpu.environ({**plain_environ, "GLOO_SOCKET_IFNAME": "lo"}, Machine(), alive=alive)
        # The loader forgets a folder that is not there when the process starts.
        (folder / "libraries").symlink_to(fakegpu.folder)
        environ["LD_LIBRARY_PATH"] = f"{folder / 'libraries'}:{plain_environ.get('LD_LIBRARY_PATH', '')}".rstrip(":")
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("torch_forks.py"),
             folder / "scenarios.json", folder / "libraries", TORCH_CHILD],
            env=environ, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        statuses = json.loads(done.stdout)
        return {name: answer_in(folder / name, status) for name, status in zip(scenarios, statuses, strict=True)}

    def written(scenario: TorchScenario, folder: Path) -> dict[str, Any]:
        folder.mkdir()
        return {
            "folder": str(folder),
            "libraries": str(fakegpu.libraries(scenario.machine)),
            "environ": {"FAKEGPU": scenario.machine.spec(), **scenario.environ},
            "told": scenario.told,
        }

    return ask


def answer_in(folder: Path, status: int) -> TorchFacts:
    said, stage = read_journal(folder / "journal")
    how, number = how_it_ended(status, stage)
    end = ChildEnd(how=how, number=number, stage=stage, seconds=0.0, kernel_state="", stderr="")
    return torch_facts(ChildAnswer(end=end, said=said))
