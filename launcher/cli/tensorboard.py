"""`launcher tensorboard`: open TensorBoard on this machine only."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from launcher.config.request import RunSettings
from launcher.errors import RequestError
from launcher.safe_start import python_command


def run(arguments: Sequence[str]) -> int:
    """Show a run, or all below a folder, until TensorBoard is interrupted; its exit status.

    Raises:
        RequestError: there is no such folder.
    """
    first, *rest = arguments or [RunSettings().root]
    folder, own = (Path(RunSettings().root), [first, *rest]) if first.startswith("-") else (Path(first), rest)
    if not folder.is_dir():
        raise RequestError(
            f"TensorBoard should show {folder}, but there is no such folder. Name a run: launcher tensorboard DIR"
        )
    command = [*python_command("tensorboard.main"), "--logdir", str(folder), "--host", "127.0.0.1", *own]
    return subprocess.run(command, check=False).returncode
