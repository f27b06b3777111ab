"""The fast part of the trials in scripts/reliability: the same code, a few trainings instead of hundreds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PROGRAM = """
import shutil
import sys
from pathlib import Path

def main(folder):
    from scripts.reliability import crash, fence, job, kills

    made = job.make_job(folder)
    rows = [
        kills.kill_at(made, (3, 13), processes=1, background=True),
        kills.kill_at(made, (9,), processes=2, background=False),
        *fence.run_part(folder / "fence", 0.1, 1),
    ]
    if shutil.which("strace"):
        rows.append(crash.crash_saves(folder / "crash", every=30))
    for row in rows:
        print(f"{row.part}: {row.tried}: {row.measured}; missed: {', '.join(row.misses) or 'nothing'}")

if __name__ == "__main__":
    main(Path(sys.argv[1]))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the trials fork, and look into /proc: Linux only"),
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What a short run of the trials prints, by part.

    Not in this process: what earlier tests have started, threads of torch for one, is not there in a forked child.
    """
    folder = tmp_path_factory.mktemp("trials")
    program = folder / "trial.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        lines.setdefault(line.partition(":")[0], []).append(line)
    return lines


def test_trainings_that_are_killed_end_with_the_weights_and_metrics_of_one_that_was_not(measured: dict[str, list[str]]):
    one_process, two_processes = measured["kills"]

    assert "2 kills" in one_process
    assert "1 kills" in two_processes
    assert all("1/1 same weights, 1/1 same metrics" in line for line in measured["kills"])
    assert all("missed: nothing" in line for line in measured["kills"])


def test_an_attempt_that_was_overtaken_stops_and_spoils_nothing(measured: dict[str, list[str]]):
    (line,) = measured["fence"]

    assert "1/1 stopped and reported why" in line
    assert "the same metrics 1/1 times" in line


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace, which counts system calls, is not installed")
def test_a_kill_before_a_system_call_of_a_save_leaves_a_valid_checkpoint(measured: dict[str, list[str]]):
    (line,) = measured["crash"]

    assert ": 0 kills" not in line
    assert "missed: nothing" in line


def test_what_was_not_as_expected_is_reported_and_ends_with_a_status(tmp_path: Path):
    program = "from scripts.reliability import run; from scripts.reliability.result import Row; import sys, types\n"
    program += "row = Row(part='kills', tried='x', measured='y', misses=('other weights',))\n"
    program += "sys.modules['scripts.reliability.kills'] = types.SimpleNamespace(run_part=lambda *_: [row])\n"
    program += f"sys.exit(run.main(['kills', '--folder', {str(tmp_path)!r}]))"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 1
    assert "| kills | x | y | 1 |" in done.stdout
    assert "other weights" in done.stdout
