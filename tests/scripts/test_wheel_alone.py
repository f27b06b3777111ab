"""The wheel of the launcher in an environment that has nothing but what it requires: no checkout, no detectron2."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import ExitCode

ROOT = Path(__file__).parents[2]
NOT_SEEN = ("detectron2", "launcher", "__editable__", "pip", "~")
"""Of what is installed here, what the bare environment must get by itself."""


def copied_project(folder: Path) -> Path:
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("launcher", "configs", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def installed_here() -> Path:
    """Where the torch is that these tests run with."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the launcher's wheel, which sees torch and all else that it requires."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "project").mkdir()
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder / "wheels")]
    subprocess.run(
        [sys.executable, "-m", *build, str(copied_project(folder / "project"))], check=True, capture_output=True
    )
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    seen = folder / "seen"
    seen.mkdir()
    for entry in installed_here().iterdir():
        if not entry.name.startswith(NOT_SEEN):
            (seen / entry.name).symlink_to(entry)
    (site,) = (folder / "venv/lib").glob("python3*/site-packages")
    (site / "seen.pth").write_text(f"{seen}\n")
    (wheel,) = (folder / "wheels").iterdir()
    done = run(folder / "venv/bin", "python", "-m", "pip", "install", "--quiet", str(wheel))
    assert done.returncode == 0, done.stderr
    return folder / "venv/bin"


def run(programs: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In an empty folder and with a cache of its own, so that nothing of here helps."""
    elsewhere = programs.parents[1] / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    without = ("PYTHONPATH", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [str(programs / program), *arguments],
        cwd=elsewhere,
        env={**environ, "XDG_CACHE_HOME": str(elsewhere / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.slow
def test_the_wheel_alone_says_how_to_get_detectron2_gets_it_and_composes(bare: Path):
    without = run(bare, "launcher", "doctor")
    refused = run(bare, "launcher", "plan", "experiment=demo")
    experiments = run(bare, "launcher", "list", "experiments")

    assert without.returncode == ExitCode.device_refused
    assert "detectron2 is not installed" in without.stdout
    assert "launcher install detectron2" in " ".join(without.stdout.split())
    assert refused.returncode == ExitCode.request_wrong
    assert "launcher install detectron2" in refused.stderr
    assert "demo" in experiments.stdout

    installed = run(bare, "launcher", "install", "detectron2")
    if "could not download" in installed.stdout + installed.stderr:
        pytest.skip("the package index cannot be reached")
    assert installed.returncode == ExitCode.finished, installed.stdout + installed.stderr
    assert "Next: launcher doctor" in installed.stdout

    facts = json.loads(run(bare, "launcher", "doctor", "--json").stdout)
    assert "detectron2.missing" not in {finding["code"] for finding in facts["findings"]}
    assert Path(facts["facts"]["packages"]["detectron2_folder"]).is_relative_to(bare.parent)
    composed = run(bare, "launcher", "train", "experiment=demo", "--cfg", "job", "-p", "SOLVER")
    assert composed.returncode == ExitCode.finished, composed.stderr
    assert "MAX_ITER: 300" in composed.stdout
    assert "is installed; nothing is changed" in run(bare, "launcher", "install", "detectron2").stdout
