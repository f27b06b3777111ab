"""Child process of `test_child_torch.py`: imports torch once and tries many simulated machines, a fork for each.

Reads a list of `{name, fakegpu, environ, ask}` as JSON from its first argument's file; prints a dictionary of results.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path


def main(scenarios_path: str, script_path: str) -> None:
    spec = importlib.util.spec_from_file_location("child_torch", script_path)
    assert spec is not None
    assert spec.loader is not None
    child_torch = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(script_path).parent))
    spec.loader.exec_module(child_torch)
    import torch

    results = {}
    for scenario in json.loads(Path(scenarios_path).read_text()):
        Path(scenario["ask"]["folder"]).mkdir()
        os.environ["FAKEGPU"] = scenario["fakegpu"]
        forks = child_torch.start_forks(scenario["ask"], torch)
        results[scenario["name"]] = [{**fork.result(), "said": fork.said} for fork in forks]
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
