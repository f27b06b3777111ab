"""`launcher data demo`: write the demo data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from launcher.data.demo import write_demo
from launcher.errors import ExitCode, printable


def run(arguments: Sequence[str]) -> int:
    """Write it.

    Raises:
        LauncherError: it cannot be written.
    """
    parser = argparse.ArgumentParser(
        prog="launcher data demo",
        description="Handwritten digits on photographs: 10 classes, boxes and exact masks.",
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=200, metavar="N", help="training images (200)")
    parser.add_argument("--val", type=int, default=50, metavar="N", help="validation images (50)")
    parser.add_argument("--size", type=int, default=256, metavar="PIXELS", help="side of an image (256)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    write_demo(asked.folder, num_train=asked.train, num_val=asked.val, size=asked.size, seed=asked.seed)
    print(printable(f"{asked.train} training and {asked.val} validation images in {asked.folder}"))
    return ExitCode.finished
