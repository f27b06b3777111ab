"""What came of `launcher data convert`, as a person reads it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.data.convert.convert import Converted
from launcher.data.convert.write import Written
from launcher.data.tally import Flaw, listed

_SHOWN_CLASSES = 8


def conversion_lines(done: Converted, source: Path, folder: Path) -> Iterator[str]:
    """From what was read to what to type next."""
    yield f"{done.format.title} data in {source}, {_classes(done.categories)}"
    yield from (f"  {_said(file)}" for file in done.files)
    yield from (f"  {convention}" for convention in done.conventions)
    yield from _counted("left out", done.losses)
    yield from _counted("kept otherwise, or worth a look", done.changes)
    if not done.losses:
        yield "nothing was left out"
    yield f"next: launcher {_next(done, folder)}"


def _classes(names: Sequence[str]) -> str:
    shown = listed(names[:_SHOWN_CLASSES], len(names))
    return f"{len(names)} {'class' if len(names) == 1 else 'classes'}: {shown}"


def _said(file: Written) -> str:
    counts = {
        "images": file.num_images,
        "objects with masks": file.num_masks,
        "objects with boxes alone": file.num_boxes,
        "crowds": file.num_crowds,
        "images without objects": file.num_without,
    }
    return f"{file.file}: {', '.join(f'{name} {number}' for name, number in counts.items() if number)}"


def _counted(title: str, flaws: Sequence[Flaw]) -> Iterator[str]:
    if flaws:
        yield f"{title}:"
    for flaw in flaws:
        yield f"  {flaw.code}: {flaw.count}"
        yield f"    {listed(flaw.examples, flaw.count)}"


def _next(done: Converted, folder: Path) -> str:
    """A command that takes what was written."""
    if any(file.file.stem == "train" for file in done.files):
        return f"plan {' '.join(_settings(done, folder))}"
    return f"data check {shlex.quote(str(done.files[0].file))}"


def _settings(done: Converted, folder: Path) -> Iterator[str]:
    """That train on it."""
    has_masks = all(file.num_masks and not file.num_boxes for file in done.files if file.num_masks or file.num_boxes)
    model = "COCO-InstanceSegmentation/mask_rcnn" if has_masks else "COCO-Detection/faster_rcnn"
    yield f"model={model}_R_50_FPN_1x"
    yield f"dataset=coco_json {shlex.quote(f'dataset.root={folder}')}"
    parts = {file.file.stem for file in done.files}
    if "val" not in parts and "train" in parts:
        yield "dataset.val.fraction=0.2"
