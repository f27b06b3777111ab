"""What is measured against, as a file for detectron2's evaluators and for whoever compares evaluations later."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

from detectron2.data import MetadataCatalog

from launcher.data.truth import read_truth
from launcher.files import write_text

logger = logging.getLogger(__name__)

ANNOTATIONS = "annotations.json"
"""The annotations of the part of a file that is evaluated, beside the results."""
_elsewhere: list[tempfile.TemporaryDirectory[str]] = []
"""Where files are that had no room beside the results, until this process ends."""


def give_truth(dataset: str, folder: str | None) -> None:
    """Let a data set that is a part of a file be measured against a file of that part alone.

    detectron2's evaluators take the one that a data set's metadata names.
    """
    metadata = MetadataCatalog.get(dataset)
    split = metadata.get("launcher_split", None)
    if split is None or split.portion is None:
        return
    text = json.dumps(read_truth(Path(split.json), split.portion))
    vars(metadata).pop("json_file", None)
    metadata.json_file = str(_write(text, folder).absolute())


def _write(text: str, folder: str | None) -> Path:
    if folder is not None:
        try:
            write_text(Path(folder, ANNOTATIONS), text)
            return Path(folder, ANNOTATIONS)
        except OSError as error:
            logger.warning("%s could not be written to %s (%s)", ANNOTATIONS, folder, error)
    _elsewhere.append(tempfile.TemporaryDirectory(prefix="launcher-annotations-"))
    file = Path(_elsewhere[-1].name, ANNOTATIONS)
    write_text(file, text)
    return file
