"""`launcher data convert`: a data set in another format, as COCO's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from launcher.data.convert.convert import Conversion, Format, convert
from launcher.data.convert.voc import VocOptions
from launcher.errors import ExitCode, printable
from launcher.show.conversion import conversion_lines

DESCRIPTION = """\
Read a data set of YOLO (boxes and polygons), Pascal VOC or labelme, and write train.json, val.json and
test.json in COCO's format into DIR, as far as the data set has these parts. Images stay where they are. What cannot be
carried over is counted and shown; a label that cannot be read keeps everything from being written."""


def run(arguments: Sequence[str]) -> int:
    """Convert, and say what came of it.

    Raises:
        LauncherError: it cannot be read or written.
    """
    asked = _parser().parse_args(arguments)
    done = convert(
        Conversion(
            source=asked.source,
            folder=asked.folder,
            format=Format(asked.format) if asked.format else None,
            voc=VocOptions(origin=asked.origin, difficult_as_objects=asked.difficult_as_objects),
            copy_images=asked.copy_images,
            skip_malformed=asked.skip_malformed,
            force=asked.force,
        )
    )
    for line in conversion_lines(done, asked.source, asked.folder):
        print(printable(line))
    return ExitCode.finished


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launcher data convert", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("source", type=Path, metavar="SRC", help="folder of the data set, or YOLO's data.yaml")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the COCO-format files go")
    parser.add_argument("--from", dest="format", choices=[one.value for one in Format], help="format (found out)")
    parser.add_argument("--copy-images", action="store_true", help="copy the images into DIR/images")
    parser.add_argument("--skip-malformed", action="store_true", help="leave out labels that cannot be read")
    parser.add_argument("--force", action="store_true", help="overwrite what is in DIR")
    parser.add_argument(
        "--origin", type=int, choices=(0, 1), help="number of the first pixel in VOC's files (found out)"
    )
    parser.add_argument(
        "--difficult-as-objects", action="store_true", help="learn and count VOC's difficult objects like others"
    )
    return parser
