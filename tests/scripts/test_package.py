"""What a user gets: the contents of a built package, and the guarantees of the lock file."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `launcher` folder as a wheel would hold it."""
    project = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    for name in ("launcher", "configs", "scripts"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", "built"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return project / "built" / "launcher"


def test_a_built_package_carries_every_preset(built: Path):
    there = {path.relative_to(built / "configs") for path in (built / "configs").rglob("*") if path.is_file()}

    assert there == {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    assert Path("config.yaml") in there


def test_a_built_package_carries_what_repacks_detectron2(built: Path):
    there = {path.name for path in (built / "scripts/detectron2").iterdir()}

    assert there == {"detectron2_wheel.py", "pyproject.toml", "requirements.txt"}


def test_a_built_package_carries_every_file_of_every_room(built: Path):
    there = {path.relative_to(built) for path in built.rglob("*") if path.is_file()}

    expected = {path for path in (ROOT / "launcher").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path.relative_to(ROOT / "launcher") for path in expected} <= there


def lock_entries() -> list[str]:
    text = "\n".join(line for line in (ROOT / "requirements.lock").read_text().splitlines() if "#" not in line)
    return re.split(r"\n(?=\S)", text.strip())


def test_every_entry_of_the_lock_is_pinned_and_has_a_hash():
    entries = lock_entries()

    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_lock_names_no_index():
    text = (ROOT / "requirements.lock").read_text()

    assert "://" not in text
    assert "-index" not in text


def test_the_lock_has_no_prerelease_of_hydra():
    versions = [entry.split()[0] for entry in lock_entries() if entry.startswith("hydra-core==")]

    assert len(versions) == 1
    assert re.fullmatch(r"hydra-core==1\.[34]\.\d+", versions[0])


@pytest.mark.parametrize("source", ["pyproject.toml", "scripts/detectron2/requirements.txt"])
def test_everything_required_is_locked(source: str):
    if sys.version_info < (3, 11):
        pytest.skip("needs tomllib of Python 3.11")
    locked = {entry.split("==")[0] for entry in lock_entries()}

    assert required_names(ROOT / source) <= locked


def required_names(path: Path) -> set[str]:
    if path.suffix == ".toml":
        import tomllib

        project = tomllib.loads(path.read_text())["project"]
        extras = project["optional-dependencies"].values()
        lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    else:
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    names = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines]
    return {re.sub(r"[._-]+", "-", name.group()).lower() for name in names if name}
