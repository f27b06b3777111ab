"""The simulated NVIDIA machine, compiled once for all device tests, and the real torch on many of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from launcher.device.facts import TorchFacts
from tests.device.torch_machines import AskTorch, TorchScenario, ask_torch_on
from tests.fakegpu import FakeGpu, why_not_compiled


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
    def ask(scenarios: Mapping[str, TorchScenario], *, alive: bool = True) -> dict[str, TorchFacts]:
        return ask_torch_on(scenarios, tmp_path_factory.mktemp("forks"), fakegpu, plain_environ, alive=alive)

    return ask
