from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from launcher.run.paths import RunPaths
from tests.cluster.real_slurm import SCRIPTS, Slurm, Submitted
from tests.exact import weights_in

TRIALS = int(os.environ.get("SLURM_TEST_TRIALS", "1"))
"""Of each test that submits a run."""
SLURM = ("slurmctld", "slurmd", "sbatch", "munged")
ITERATIONS = 24


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory, launcher_environment: dict[str, str]) -> Iterator[Slurm]:
    """A real Slurm, for as long as the tests run."""
    if missing := [name for name in SLURM if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed; make test-cluster installs Slurm where that can be done")
    state = tmp_path_factory.mktemp("slurm")
    port = str(20000 + os.getpid() % 400 * 50)  # others on this machine may have a Slurm of their own
    environ = {**launcher_environment, "SLURM_TEST_PORT": port, "SLURM_CONF": str(state / "slurm.conf")}

    def script(name: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(SCRIPTS / name), str(state)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    up = script("slurm_up.sh")
    try:
        if up.returncode != 0:
            pytest.skip(f"Slurm does not start here: {up.stderr.strip()}")
        yield Slurm(state=state, environ=environ, here=tmp_path_factory.mktemp("project"))
    finally:
        script("slurm_down.sh")


@pytest.fixture(scope="session")
def settings(demo_settings: tuple[str, ...]) -> tuple[str, ...]:
    """Of a run on the CPU that lasts long enough to be disturbed."""
    return (
        *demo_settings,
        "DATASETS.TEST=[]",
        "device=cpu",
        f"SOLVER.MAX_ITER={ITERATIONS}",
        "SOLVER.CHECKPOINT_PERIOD=4",
        "config_extensions=[tests.cluster.slow:install]",
        "run.root=runs",
    )


Submit = Callable[..., Submitted]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if TRIALS > 1 and "trial" in metafunc.fixturenames:
        metafunc.parametrize("trial", range(1, TRIALS + 1))


@pytest.fixture
def trial() -> int:
    return 1


@pytest.fixture
def submit(slurm: Slurm, settings: tuple[str, ...], trial: int) -> Submit:
    """`launcher submit` of that run under a name of its own; each of its iterations takes half a second longer."""

    def run(name: str, *more: str, slow_s: float = 0.5, **environ: str) -> Submitted:
        named = name if trial == 1 else f"{name}_{trial}"
        asked = (*settings, f"run.name={named}", "cluster=slurm", *more)
        printed = slurm.launcher("submit", *asked, SLOW_S=str(slow_s), **environ)
        job = re.search(r"submitted as job (\d+)\n  folder +(.*)", printed)
        assert job is not None, printed
        return Submitted(job=job[1], paths=RunPaths(Path(job[2])))

    return run


@pytest.fixture(scope="session")
def undisturbed_as(slurm: Slurm, settings: tuple[str, ...]) -> Callable[..., str]:
    """The weights of that run with further settings, trained without Slurm and without a disturbance."""

    @lru_cache
    def train(*more: str) -> str:
        name = "undisturbed" + "".join(filter(str.isalnum, "".join(more)))
        slurm.launcher("train", *settings, *more, f"run.name={name}")
        (folder,) = (slurm.here / "runs").glob(f"*/{name}")
        return weights_in(RunPaths(folder).final_weights)

    return train


@pytest.fixture(scope="session")
def undisturbed(undisturbed_as: Callable[..., str]) -> str:
    return undisturbed_as()
