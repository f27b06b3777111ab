"""The simulated NVIDIA machine, compiled once for all device tests."""

from __future__ import annotations

import os

import pytest

from tests.fakegpu import FakeGpu, why_not_compiled


@pytest.fixture(scope="session")
def fakegpu(tmp_path_factory: pytest.TempPathFactory) -> FakeGpu:
    if why_not := why_not_compiled():
        pytest.skip(why_not)
    return FakeGpu(tmp_path_factory.mktemp("fakegpu"))


@pytest.fixture
def plain_environ() -> dict[str, str]:
    """This process's environment without what would steer CUDA."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CUDA_", "NVIDIA_", "SLURM_", "PYTORCH_", "FAKEGPU")) and name != "LD_PRELOAD"
    }
