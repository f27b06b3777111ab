"""Hydra's own tests of a launcher plugin."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from launcher.config.compose import hydra_version_base
from launcher.pool import register

REPOSITORY = Path(__file__).parent.parent.parent
WITH_THE_POOL = """
import runpy, sys
from launcher.pool import register
register()
sys.argv.pop(0)
sys.path.insert(0, "")
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Hydra's own plugins are found once in a process; what the tests restore is to have them.
Plugins.instance()


@pytest.fixture(autouse=True)
def _registered(hydra_restore_singletons: None) -> None:  # noqa: ARG001 (a fixture cannot use one otherwise)
    if hydra_version_base():  # Hydra 1.4 has none
        version.setbase("1.1")  # what Hydra's tests assume, whatever ran in this process before
    register()


@pytest.fixture(params=["fork", "spawn"])
def start(request: pytest.FixtureRequest) -> str:
    if request.param == "spawn":
        pytest.importorskip("cloudpickle", reason="cloudpickle, which hands on functions of a test, is not installed")
    return str(request.param)


@pytest.fixture
def overrides(start: str) -> list[str]:
    return ["hydra.launcher.devices=cpu", f"hydra.launcher.start={start}"]


@pytest.mark.parametrize("launcher_name", ["pool"])
class TestPoolLauncher(LauncherTestSuite):
    """Single jobs and sweeps."""


@pytest.mark.parametrize("launcher_name", ["pool"])
class TestPoolLauncherInBatches(BatchedSweeperTestSuite):
    @pytest.fixture
    def overrides(self, start: str) -> list[str]:
        return ["hydra.launcher.devices=cpu", f"hydra.launcher.start={start}", "hydra.sweeper.max_batch_size=2"]


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        ({}, ["-m", "hydra/launcher=pool", "hydra.launcher.devices=cpu", f"hydra.launcher.start={start}"])
        for start in ("fork", "spawn")
    ],
)
class TestPoolLauncherIntegration(IntegrationTestSuite):
    """Scripts, as users run them."""

    @pytest.fixture(autouse=True)
    def _importable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(
            "PYTHONPATH", f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
        )

    def generate_custom_cmd(self) -> Callable[..., list[str]]:
        return lambda cmd, _filename: [sys.executable, "-c", WITH_THE_POOL, *cmd[1:]]
