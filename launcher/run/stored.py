"""request.yaml as plain data."""

from __future__ import annotations

from typing import Any

import yaml

from launcher.run.paths import RunPaths


def read_request(paths: RunPaths) -> dict[str, Any]:
    """request.yaml as plain data; empty where it cannot be read."""
    try:
        # By Python's parser: libyaml's takes 20 ms less, and ends the process on brackets of a hundred thousand levels.
        plain = yaml.safe_load(paths.request.read_bytes())
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}
