"""`launcher tensorboard`: open TensorBoard on this machine only."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from launcher.errors import ExitCode, RequestError, printable
from launcher.run.event_folders import label_events, link_events
from launcher.run.found import ROOT, find_run
from launcher.safe_start import python_command
from launcher.signals import handling

USAGE = """\
usage: launcher tensorboard [RUN|DIR...] [--port=N] [TensorBoard's own options]

Opens TensorBoard on this machine only, with the runs by their names: launcher tensorboard demo/default
Without a run or folder it shows all runs in outputs, also those that begin while it is open.
The link that it prints has smoothing 0. On another machine: ssh -L 6006:localhost:6006 HOST"""
LOOK_EVERY_S = 15.0
"""For runs and attempts that began meanwhile."""
LAST_WORDS_S = 5.0
LOGDIR = ("--logdir", "--logdir_spec")
ADDRESS = re.compile(r"^TensorBoard \S+ at (http\S+?)/? \(.*\)$")
NOISE = (
    "TensorFlow installation not found",
    "NOTE: Using experimental fast",
    '    "--load_fast',
    "    https://github.com",
)
SAMPLES = "images=200,text=100"
"""How many images and texts of a tag TensorBoard keeps: all predictions of a training, instead of ten."""


def run(arguments: Sequence[str]) -> int:
    """Show runs, or all below a folder, until TensorBoard is interrupted; its exit status.

    Raises:
        RequestError: there is no such run or folder.
    """
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return ExitCode.finished
    asked, own = _sorted_words(arguments)
    if any(option.partition("=")[0] in LOGDIR for option in own):
        return _open(own)
    roots = [_root_of(word) for word in asked or [ROOT]]
    with TemporaryDirectory(prefix="launcher-tensorboard-") as folder:
        link_events(label_events(roots), Path(folder))
        return _open([f"--logdir={folder}", f"--samples_per_plugin={SAMPLES}", *own], roots, Path(folder))


def _sorted_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Runs and folders, and TensorBoard's own options; the word behind an option without `=` is its value."""
    asked: list[str] = []
    own: list[str] = []
    for before, word in zip(("", *arguments), arguments, strict=False):
        is_value = before.startswith("-") and "=" not in before
        (own if word.startswith("-") or is_value else asked).append(word)
    return asked, own


def _root_of(asked: str) -> Path:
    if Path(asked).is_dir():
        return Path(asked)
    if asked == ROOT:
        raise RequestError(
            f"TensorBoard should show the runs in {ROOT}, but there is no such folder here.\n"
            "hint: name a run or a folder: launcher tensorboard DIR"
        )
    return find_run(asked, Path(ROOT))


def _open(options: Sequence[str], roots: Sequence[Path] = (), links: Path | None = None) -> int:
    command = [*python_command("tensorboard.main"), "--host", "127.0.0.1", *options]
    with (
        handling({signal.SIGTERM: lambda *_: sys.exit(128 + signal.SIGTERM)}),
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="backslashreplace") as process,
    ):
        assert process.stderr is not None
        showing = threading.Thread(target=_show, args=(process.stderr,), daemon=True)
        showing.start()
        try:
            return _wait(process, roots, links)
        finally:
            process.terminate()
            showing.join(LAST_WORDS_S)  # before what it reads is closed


def _wait(process: subprocess.Popen[str], roots: Sequence[Path], links: Path | None) -> int:
    while True:
        try:
            return process.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            if links is not None:
                link_events(label_events(roots), links)


def _show(lines: IO[str]) -> None:
    """What TensorBoard says, with a link in place of its address."""
    for line in lines:
        text = line.rstrip("\n")
        if found := ADDRESS.match(text):
            text = f"TensorBoard: {found[1]}/?smoothing=0#timeseries   (Ctrl-C ends it)"
        if text and not text.startswith(NOISE):
            print(printable(text), file=sys.stderr, flush=True)
