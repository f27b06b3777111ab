"""What scripts/install.sh says and does before and around pip; the Pythons and the pip here are small shell scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "install.sh"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")

# A Python whose `-m venv` makes an environment with itself inside, and whose pip writes down how it was called.
FAKE_PYTHON = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
    *"import ensurepip"*) exit {ensurepip} ;;
    *"sys.version_info"*) printf '{version}' ;;
    *"-m venv"*)
        for target in "$@"; do :; done
        echo "venv $*" >> calls
        mkdir -p "$target/bin" && cp "$0" "$target/bin/python" ;;
    *"-m pip"*) echo "pip $*" >> calls; {pip} ;;
    -) echo {detectron2} ;;
    *) echo "Python {version}" ;;
esac
"""

LOCK = """\
numpy==2.0 \\
    --hash=sha256:11
    # via torch
pip==26.0 \\
    --hash=sha256:22 \\
    --hash=sha256:33
    # via detectron2-launcher
setuptools==80.0 ; python_version < '4' \\
    --hash=sha256:44
torch==2.15 \\
    --hash=sha256:55
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "requirements.lock").write_text(LOCK)
    write_python(tmp_path)
    return tmp_path


def write_python(
    project: Path, *, version: str = "3.12", ensurepip: int = 0, pip: str = ":", detectron2: str = "none"
) -> None:
    python = project / "python"
    python.write_text(FAKE_PYTHON.format(version=version, ensurepip=ensurepip, pip=pip, detectron2=detectron2))
    python.chmod(0o755)


def install(project: Path, python: str = "./python") -> subprocess.CompletedProcess[str]:
    command = ["sh", "scripts/install.sh", python, ".venv"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)


def calls(project: Path) -> list[str]:
    return (project / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("python", "settings", "message"),
    [
        ("no-such-python", {}, "There is no 'no-such-python' here. Install Python 3.10 to 3.13"),
        ("./python", {"version": "3.9"}, "'./python' is Python 3.9, and 3.10 to 3.13 are supported"),
        ("./python", {"version": "3.14"}, "'./python' is Python 3.14, and 3.10 to 3.13 are supported"),
        ("./python", {"version": "2.7"}, "'./python' is Python 2.7, and 3.10 to 3.13 are supported"),
        ("./python", {"ensurepip": 1}, "apt install python3.12-venv"),
        ("false", {}, "'false' is here but does not run"),
    ],
)
def test_what_the_machine_lacks_gets_one_line_and_leaves_nothing_behind(
    project: Path, python: str, settings: dict[str, object], message: str
):
    write_python(project, **settings)  # type: ignore[arg-type]

    result = install(project, python)

    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (project / ".venv").exists()


def test_packages_come_from_the_lock_with_hashes_then_detectron2_then_the_project(project: Path):
    result = install(project)

    assert result.returncode == 0, result.stderr
    installs = [call.split(" install ")[1] for call in calls(project) if call.startswith("pip")]
    assert installs == [
        "--progress-bar off --require-hashes -r .venv/tmp/first.txt",
        "--progress-bar off --require-hashes --no-build-isolation -r requirements.lock",
        "--progress-bar off --no-deps --no-build-isolation ./scripts/detectron2",
        "--progress-bar off --no-deps --no-build-isolation --editable .",
    ]


def test_pip_and_setuptools_come_first_with_the_hashes_of_the_lock(project: Path):
    write_python(project, pip="cp .venv/tmp/first.txt first.txt")

    install(project)

    first = (project / "first.txt").read_text()
    assert [line.split("==")[0] for line in first.splitlines() if "==" in line] == ["pip", "setuptools"]
    assert [line.strip(" \\") for line in first.splitlines() if "--hash" in line] == [
        "--hash=sha256:22",
        "--hash=sha256:33",
        "--hash=sha256:44",
    ]


def test_an_install_that_broke_off_is_made_anew_by_the_next_call(project: Path):
    write_python(project, pip="exit 1")
    broken = install(project)
    write_python(project)
    (project / "calls").unlink()

    repaired = install(project)

    assert broken.returncode == 2
    assert "pip could not install everything" in broken.stderr
    assert calls(project)[0] == "venv -m venv --clear .venv"
    assert repaired.returncode == 0
    assert not (project / ".venv" / ".installing").exists()


def test_a_whole_environment_is_kept_when_only_the_lock_changed(project: Path):
    install(project)
    (project / "calls").unlink()

    install(project)

    assert calls(project)[0] == "venv -m venv .venv"


def test_an_environment_of_another_python_is_made_anew(project: Path):
    install(project)
    (project / "calls").unlink()
    write_python(project, version="3.13")

    install(project)

    assert calls(project)[0] == "venv -m venv --clear .venv"


@pytest.mark.parametrize(("found", "installed"), [("none", True), ("ours", True), ("theirs", False)])
def test_a_detectron2_that_the_user_put_there_is_left_alone(project: Path, found: str, installed: bool):
    write_python(project, detectron2=found)

    result = install(project)

    assert result.returncode == 0, result.stderr
    assert any("./scripts/detectron2" in call for call in calls(project)) is installed
    assert ("Keeping the detectron2" in result.stdout) is not installed


def test_large_downloads_are_shown_and_small_ones_are_not(project: Path):
    lines = (
        "Downloading torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64.whl (539.1 MB)",
        "Using cached triton-3.9.0.whl (85.8 MB)",
        "Downloading huge.whl (1.2 GB)",
        "Downloading small.whl (9.4 MB)",
        "Downloading tiny.whl (120 kB)",
        "Collecting numpy==2.0",
    )
    write_python(project, pip="; ".join(f"echo '  {line}'" for line in lines))

    shown = install(project).stdout

    for word in ("539.1 MB", "85.8 MB", "1.2 GB"):
        assert word in shown
    for word in ("9.4 MB", "120 kB", "Collecting"):
        assert word not in shown
