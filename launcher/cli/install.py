"""`launcher install detectron2`: the one thing that no package index has, put into the environment of this Python."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from launcher.config.known_keys import find_detectron2
from launcher.errors import ExitCode, RequestError, printable

COMPILED = "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
EPILOG = f"""\
Installs detectron2 0.7.2 without its compiled operators: needs neither git nor a compiler, replaces no torch.
Only rotated boxes need the operators. To compile them, with git, a C++ compiler and for GPUs nvcc:
  {COMPILED}"""


def run(arguments: Sequence[str]) -> int:
    """Install it, unless there is one.

    Raises:
        RequestError: nothing here can install, or what can has failed.
    """
    asked = _parser().parse_args(arguments)
    if not asked.again and (there := _installed()):
        print(printable(f"{there} is installed; nothing is changed. --again replaces it. Next: launcher doctor"))
        return ExitCode.finished
    command = install_command(_has_pip(), shutil.which("uv"), backend_folder(), again=asked.again)
    print(printable(shlex.join(command)), flush=True)
    if asked.dry_run:
        return ExitCode.finished
    if subprocess.run(command, check=False).returncode != 0:
        raise RequestError(
            "detectron2 could not be installed; the lines above say why. Where Python belongs to the system, make an "
            "environment first (python3 -m venv .venv) and install the launcher there."
        )
    importlib.invalidate_caches()
    print(printable(f"{_installed() or f'detectron2 in {find_detectron2()}'} is installed. Next: launcher doctor"))
    return ExitCode.finished


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launcher install",
        description="Put detectron2 into the environment of this Python.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", choices=("detectron2",), metavar="detectron2")
    parser.add_argument("--again", action="store_true", help="also where there is one, which is replaced")
    parser.add_argument("--dry-run", action="store_true", help="print the command and run nothing")
    return parser


def install_command(has_pip: bool, uv: str | None, folder: Path, *, again: bool) -> list[str]:
    """What installs that folder into this environment.

    Raises:
        RequestError: there is neither pip nor uv.
    """
    if has_pip:
        more = ["--force-reinstall", "--no-deps"] if again else []
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *more, str(folder)]
    if uv:
        more = ["--reinstall-package", "detectron2"] if again else []
        return [uv, "pip", "install", "--python", sys.executable, *more, str(folder)]
    raise RequestError(
        f"{sys.executable} has no pip, and there is no uv on the PATH. This gets pip: {sys.executable} -m ensurepip"
    )


def backend_folder() -> Path:
    """What makes a wheel of detectron2: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "scripts/detectron2"
    return inside if inside.is_dir() else package.parent / "scripts/detectron2"


def _has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None


def _installed() -> str:
    """The detectron2 that is there; empty where there is none."""
    try:
        folder = find_detectron2()
    except RequestError:
        return ""
    try:
        return f"detectron2 {distribution('detectron2').version} ({folder})"
    except PackageNotFoundError:  # sources on PYTHONPATH
        return f"detectron2 in {folder}"
