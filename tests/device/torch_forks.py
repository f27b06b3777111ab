"""Child process of `torch_machines`: imports torch once and is the torch child of many machines, a fork for each.

Reads a list of `{folder, libraries, environ, told, packages}` as JSON from its first argument's file. `libraries` is
where the second argument, a link on LD_LIBRARY_PATH, is to lead; `packages` a folder to import from first. Each fork
leaves its journal in its folder; printed are their exit statuses.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

AT_ONCE = 3


def main(scenarios: str, libraries: str, script: str) -> None:
    child_torch = load(Path(script))
    import detectron2  # noqa: F401
    import torch  # noqa: F401

    print(json.dumps(run_all(child_torch, json.loads(Path(scenarios).read_text()), Path(libraries))))


def run_all(child_torch: ModuleType, scenarios: list[dict[str, Any]], libraries: Path) -> list[int]:
    statuses = [0] * len(scenarios)
    running: dict[int, int] = {}

    def wait(at_most: int) -> None:
        while len(running) > at_most:
            pid, status = os.wait()
            statuses[running.pop(pid)] = os.waitstatus_to_exitcode(status)

    for number, scenario in enumerate(scenarios):
        wait(AT_ONCE - 1)
        if os.readlink(libraries) != scenario["libraries"]:
            wait(0)  # all that run use the same
            libraries.unlink()
            libraries.symlink_to(scenario["libraries"])
        running[start(child_torch, scenario)] = number
    wait(0)
    return statuses


def load(script: Path) -> ModuleType:
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location("child_torch", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(child_torch: ModuleType, scenario: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os.environ.update(scenario["environ"])
            if scenario["packages"]:
                sys.path.insert(0, scenario["packages"])
                for name in [name for name in sys.modules if name.partition(".")[0] == "detectron2"]:
                    del sys.modules[name]
            sys.stdin = io.StringIO(json.dumps(scenario["told"]) + "\n")
            journal = child_torch.Journal(Path(scenario["folder"]) / "journal")
            child_torch.main(journal, {"path": sys.path, "folder": scenario["folder"]})
        finally:
            os._exit(1)
    return pid


if __name__ == "__main__":
    main(*sys.argv[1:])
