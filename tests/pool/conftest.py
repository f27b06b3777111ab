"""A small Hydra application without detectron2, swept in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
APP = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
import hydra
from launcher.pool import register
register()
HERE = Path(__file__).parent
{prolog}
@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
{body}
if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True)
class App:
    """The script, and what Hydra is told about its sweep."""

    folder: Path
    script: Path
    environ: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        pool = ("-m", "hydra/launcher=pool", "hydra.sweep.dir=sweep")
        return [sys.executable, str(self.script), *pool, *arguments]

    def sweep(self, *arguments: str, limit_s: float = 200, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.environ, **environment},
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def log(self, job: int) -> str:
        return (self.folder / "sweep" / f"job-{job}.log").read_text()


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., App]:
    """Write an application whose task function has that body, below that prolog."""

    def write(body: str, prolog: str = "") -> App:
        lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
        script = tmp_path / "app.py"
        script.write_text(APP.format(prolog=prolog, body=lines))
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA_", "OMP_"))}
        environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        return App(tmp_path, script, environ)

    return write
