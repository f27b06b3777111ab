"""`launcher data`: make data sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from launcher.data.demo import write_demo
from launcher.errors import ExitCode, printable


def run(arguments: Sequence[str]) -> int:
    """Write the data set that the arguments ask for.

    Raises:
        LauncherError: it cannot be written.
    """
    parser = argparse.ArgumentParser(prog="launcher data", description="Make data sets.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    demo = kinds.add_parser("demo", help="handwritten digits on photographs: 10 classes, boxes and exact masks")
    demo.add_argument("folder", type=Path)
    demo.add_argument("--train", type=int, default=200, metavar="N", help="training images (200)")
    demo.add_argument("--val", type=int, default=50, metavar="N", help="validation images (50)")
    demo.add_argument("--size", type=int, default=256, metavar="PIXELS", help="side of an image (256)")
    demo.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    write_demo(asked.folder, num_train=asked.train, num_val=asked.val, size=asked.size, seed=asked.seed)
    print(printable(f"{asked.train} training and {asked.val} validation images in {asked.folder}"))
    return ExitCode.finished
