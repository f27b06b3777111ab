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


def main(scenarios: str, libraries: str, script: str) -> None:
    child_torch = load(Path(script))
    import detectron2  # noqa: F401
    import torch  # noqa: F401

    statuses = [run(child_torch, scenario, Path(libraries)) for scenario in json.loads(Path(scenarios).read_text())]
    print(json.dumps(statuses))


def load(script: Path) -> ModuleType:
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location("child_torch", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(child_torch: ModuleType, scenario: dict[str, Any], libraries: Path) -> int:
    libraries.unlink(missing_ok=True)
    libraries.symlink_to(scenario["libraries"])
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
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
