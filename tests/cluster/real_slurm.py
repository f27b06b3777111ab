"""A real Slurm of four virtual nodes on this machine, and what tests do to it and to runs on it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.run.attempts import read_attempts
from launcher.run.heartbeat import TRAINING
from launcher.run.paths import RunPaths

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "scripts" / "slurm"
PATIENCE_S = 240.0


def wait_for(what: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.2)


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """The cluster, and the shell that uses it."""

    state: Path
    environ: dict[str, str]
    here: Path

    def run(self, *command: str, check: bool = True, **environ: str) -> str:
        done = subprocess.run(
            command, cwd=self.here, env={**self.environ, **environ}, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def launcher(self, *arguments: str, check: bool = True, **environ: str) -> str:
        return self.run(sys.executable, "-m", "launcher", *arguments, check=check, **environ)

    def field(self, job: str, name: str) -> str:
        """One field of `scontrol show job`, whose values may have spaces."""
        text = self.run("scontrol", "show", "job", job)
        found = re.search(rf"(?:^|\s){name}=(.*?)(?=\s[A-Za-z/:]+=|$)", text, re.MULTILINE)
        return found[1] if found else ""

    def ended(self, job: str, patience_s: float = PATIENCE_S) -> str:
        """The state in which the job has ended; a hold of a requeued one is lifted."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            state = self.field(job, "JobState")
            if state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
                return state
            if self.field(job, "Reason") == "BeginTime":
                self.lift(job)
            time.sleep(0.5)
        raise AssertionError(f"job {job} did not end: {self.run('scontrol', 'show', 'job', job)}")

    def lift(self, job: str) -> None:
        self.run("bash", str(SCRIPTS / "slurm_lift.sh"), job)

    def wait_until_requeued(self, job: str, times: int = 1) -> None:
        wait_for(lambda: int(self.field(job, "Restarts")) >= times)

    def kill_daemon(self, name: str) -> None:
        os.kill(int((self.state / "run" / f"{name}.pid").read_text()), signal.SIGKILL)

    def start_daemons(self) -> None:
        self.run("bash", str(SCRIPTS / "slurm_up.sh"), str(self.state))


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A run that was submitted."""

    job: str
    paths: RunPaths

    @property
    def iterations(self) -> int:
        attempts = read_attempts(self.paths)
        return (attempts[-1].iterations or 0) if attempts else 0

    def wait_for_iteration(self, number: int, attempt: int = 1) -> None:
        def is_there() -> bool:
            attempts = read_attempts(self.paths)
            last = attempts[-1] if attempts else None
            if last is None or last.number < attempt or last.beat is None:
                return False
            return last.beat.stage == TRAINING and (last.beat.iterations or 0) >= number

        wait_for(is_there)

    def launcher_process(self) -> int:
        started = read_attempts(self.paths)[-1].started
        assert started is not None
        return started.process

    def ends(self) -> list[str]:
        """How each attempt ended."""
        return [attempt.end.ending if attempt.end else "none" for attempt in read_attempts(self.paths)]

    @property
    def output(self) -> str:
        return (self.paths.folder / f"cluster/slurm-{self.job}.out").read_text()
