"""Modules of others that cannot be imported, as a command meets them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli.broken_import import OWN_FOLDER, refusal_of
from launcher.errors import ExitCode


@pytest.mark.parametrize(
    ("module", "content", "reason"),
    [
        ("hydra", "raise RuntimeError('broken')", "RuntimeError: broken"),
        ("yaml", "import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("omegaconf", "", "cannot import name 'OmegaConf'"),
        ("rich", "", "No module named 'rich.console'"),
        ("omegaconf", "x = (", "was never closed"),
    ],
)
def test_a_module_on_pythonpath_that_hides_an_installed_one_is_named_with_its_file(
    module: str, content: str, reason: str, tmp_path: Path, launcher_environment: dict[str, str]
):
    hiding = tmp_path / f"{module}.py"
    hiding.write_text(content)
    environ = {**launcher_environment, "PYTHONPATH": f"{tmp_path}:{launcher_environment['PYTHONPATH']}"}

    command = [sys.executable, "-m", "launcher", "plan", "device=cpu"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == ExitCode.request_wrong
    assert done.stderr.startswith(f"error: {hiding} cannot be imported")
    assert reason in done.stderr
    assert "is on PYTHONPATH" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_that_is_not_there_is_named_with_the_python_that_misses_it():
    refusal = refusal_of(raised_by("import nowhere_at_all"))

    assert refusal is not None
    assert "No module named 'nowhere_at_all'" in str(refusal)
    assert f"{sys.executable} has no such module" in str(refusal)


def test_what_is_raised_while_a_command_works_is_no_broken_import():
    assert refusal_of(raised_by("int('x')")) is None


def raised_by(code: str) -> Exception:
    """As if a module of the launcher's held this code."""
    try:
        exec(compile(code, f"{OWN_FOLDER}/some_module.py", "exec"))
    except Exception as error:
        return error
    raise AssertionError(code)
