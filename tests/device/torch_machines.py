"""The torch child's answers on many simulated machines, from one process that imported torch once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import launcher.device
from launcher.device.facts import ChildEnd, TorchFacts
from launcher.device.look.child_journal import how_it_ended, read_journal
from launcher.device.look.children import ChildAnswer
from launcher.device.look.probe import torch_facts
from tests.fakegpu import FakeGpu, Machine

TORCH_CHILD = Path(launcher.device.__file__).with_name("look") / "child_torch.py"


@dataclass(frozen=True, kw_only=True)
class TorchScenario:
    """A simulated machine, and what the torch child is told to look at there."""

    machine: Machine
    told: Mapping[str, Any]
    environ: Mapping[str, str] = field(default_factory=dict)
    packages: Path | None = None
    """A folder whose packages come before the installed ones."""


AskTorch = Callable[..., dict[str, TorchFacts]]


def ask_torch_on(
    scenarios: Mapping[str, TorchScenario],
    folder: Path,
    fakegpu: FakeGpu,
    plain_environ: Mapping[str, str],
    *,
    alive: bool = True,
) -> dict[str, TorchFacts]:
    """`alive=False` leaves the CUDA runtime to the real library, which comes no further than the driver."""
    asked = [_written(scenario, folder / name, fakegpu) for name, scenario in scenarios.items()]
    (folder / "scenarios.json").write_text(json.dumps(asked))
    environ = fakegpu.environ({**plain_environ, "GLOO_SOCKET_IFNAME": "lo"}, Machine(), alive=alive)
    # The loader forgets a folder that is not there when the process starts.
    (folder / "libraries").symlink_to(fakegpu.folder)
    environ["LD_LIBRARY_PATH"] = f"{folder / 'libraries'}:{plain_environ.get('LD_LIBRARY_PATH', '')}".rstrip(":")
    script = Path(__file__).with_name("torch_forks.py")
    done = subprocess.run(
        [sys.executable, script, folder / "scenarios.json", folder / "libraries", TORCH_CHILD],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    statuses = json.loads(done.stdout)
    return {name: _answer(folder / name, status) for name, status in zip(scenarios, statuses, strict=True)}


def _written(scenario: TorchScenario, folder: Path, fakegpu: FakeGpu) -> dict[str, Any]:
    folder.mkdir()
    return {
        "folder": str(folder),
        "libraries": str(fakegpu.libraries(scenario.machine)),
        "environ": {"FAKEGPU": scenario.machine.spec(), **scenario.environ},
        "told": scenario.told,
        "packages": str(scenario.packages or ""),
    }


def _answer(folder: Path, status: int) -> TorchFacts:
    said, stage = read_journal(folder / "journal")
    how, number = how_it_ended(status, stage)
    end = ChildEnd(how=how, number=number, stage=stage, seconds=0.0, kernel_state="", stderr="")
    return torch_facts(ChildAnswer(end=end, said=said))
