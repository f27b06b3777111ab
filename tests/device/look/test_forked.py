"""Looking at GPUs from a process that has imported torch already, such as a job of a sweep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakegpu import FakeGpu, Gpu, Machine

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")]
ABOVE = Path(__file__).parents[3]
LOOK = """
import json, os, subprocess, sys
from pathlib import Path
import torch
from launcher.config.values import to_plain
from launcher.device.look.probe import STAGES, Deadlines, look_at_devices
from launcher.forking import WARM

started, start = [], subprocess.Popen
def note(command, **rest):
    started.append([Path(word).name for word in command if word.endswith(".py")])
    return start(command, **rest)
subprocess.Popen = note

def look():
    started.clear()
    facts = look_at_devices(
        os.environ, full=True, root=Path(sys.argv[1]), stages=STAGES[:6], backend="gloo", deadlines=Deadlines(stage_s=4)
    )
    return {"torch": to_plain(facts)["torch"], "started": [*started]}

print(json.dumps(look()), flush=True)
WARM.note("nobody")
if os.fork() == 0:  # a job has none of the threads that numpy made while it was imported
    CHANGE
    print(json.dumps(look()), flush=True)
else:
    os.wait()
"""


@pytest.fixture
def look(fakegpu: FakeGpu, plain_environ: dict[str, str], tmp_path: Path) -> Any:
    """What a process sees before and after it has noted that it imported everything."""

    def look_at(machine: Machine, change: str = "pass") -> Any:
        environ = fakegpu.environ({**plain_environ, "PYTHONPATH": str(ABOVE)}, machine, alive=True)
        root = machine.write_files(tmp_path / "root")
        code = LOOK.replace("CHANGE", change)
        done = subprocess.run(
            [sys.executable, "-c", code, str(root)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.stdout.count("\n") == 2, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return look_at


def without_times(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: without_times(value) for key, value in answer.items() if key != "seconds"}
    return [without_times(each) for each in answer] if isinstance(answer, list) else answer


@pytest.mark.parametrize("gpus", [(Gpu(), Gpu()), (Gpu(), Gpu(copy="segv"))], ids=["healthy", "one is sick"])
def test_a_fork_sees_what_a_child_that_imports_torch_sees(look: Any, gpus: tuple[Gpu, ...]):
    before, after = look(Machine(gpus=gpus))

    assert ["child_torch.py"] in before["started"]
    assert after["started"] == [["child_driver.py"], ["child_nvml.py"]]
    assert without_times(after["torch"]) == without_times(before["torch"])
    assert len(before["torch"]["smoke_tests"]) == 2
    assert after["torch"]["end"]["seconds"] < before["torch"]["end"]["seconds"]


def test_another_child_is_started_where_a_fork_would_not_be_the_same(look: Any):
    _, after = look(Machine(gpus=(Gpu(),)), change='os.environ["READ_BY_TORCH"] = "2"')

    assert ["child_torch.py"] in after["started"]
