"""A data set in YOLO's, Pascal VOC's or labelme's format, converted to COCO's; with an account of what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from launcher.data.convert.labelme import is_labelme, read_labelme
from launcher.data.convert.labels import Account, Labels
from launcher.data.convert.voc import VocOptions, is_voc, read_voc
from launcher.data.convert.write import Written, write_labels
from launcher.data.convert.yolo import find_yaml, read_yolo
from launcher.data.tally import Flaw
from launcher.errors import DataError, RequestError

_SHOWN = 10


class Format(Enum):
    """One that is read."""

    yolo = "yolo"
    voc = "voc"
    labelme = "labelme"

    @property
    def title(self) -> str:
        """As people call it."""
        return {"yolo": "YOLO", "voc": "Pascal VOC", "labelme": "labelme"}[self.value]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What is to be done."""

    source: Path
    folder: Path
    format: Format | None = None
    """None for the one that it has."""
    voc: VocOptions
    copy_images: bool = False
    skip_malformed: bool = False
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What came of it."""

    format: Format
    files: tuple[Written, ...]
    categories: tuple[str, ...]
    losses: tuple[Flaw, ...]
    """What is left out; the code of each is a sentence."""
    changes: tuple[Flaw, ...]
    """What is kept otherwise than it was, likewise."""
    conventions: tuple[str, ...]


def convert(asked: Conversion) -> Converted:
    """Read everything, then write everything.

    Raises:
        RequestError: the source is not there or of no known format, or files would be overwritten.
        DataError: something in it cannot be read.
    """
    if not os.path.exists(asked.source):
        raise RequestError(f"{asked.source} is not there. Name the folder of a data set.")
    account = Account()
    chosen = asked.format or detect(asked.source)
    labels = _read(asked, chosen, account)
    _refuse_malformed(account, skip=asked.skip_malformed)
    _refuse_nothing(asked.source, labels, account)
    _note_shared(labels, account)
    files = write_labels(labels, asked.source, asked.folder, copy_images=asked.copy_images, force=asked.force)
    return Converted(
        format=chosen,
        files=files,
        categories=labels.categories,
        losses=account.losses(),
        changes=account.changes(),
        conventions=labels.conventions,
    )


def detect(source: Path) -> Format:
    """Which format a data set has.

    Raises:
        RequestError: none that is known, or several.
    """
    is_there = {
        Format.yolo: find_yaml(source) is not None,
        Format.voc: is_voc(source),
        Format.labelme: is_labelme(source),
    }
    found = [one for one, there in is_there.items() if there]
    if len(found) == 1:
        return found[0]
    if found:
        raise RequestError(
            f"{source} has files of {' and of '.join(one.title for one in found)}. Say which to read: "
            f"--from {' or --from '.join(one.value for one in found)}."
        )
    raise RequestError(
        f"{source} has no data set that is known: no data.yaml (YOLO), no XML with <annotation> (Pascal VOC), no JSON "
        "with shapes (labelme). COCO's format needs no conversion: dataset=coco_json dataset.root=FOLDER."
    )


def _read(asked: Conversion, chosen: Format, account: Account) -> Labels:
    try:
        return _readers(asked)[chosen](asked.source, account)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}. Let this user read it.") from error


def _readers(asked: Conversion) -> Mapping[Format, Callable[[Path, Account], Labels]]:
    return {
        Format.yolo: read_yolo,
        Format.voc: lambda source, account: read_voc(source, account, asked.voc),
        Format.labelme: read_labelme,
    }


def _refuse_malformed(account: Account, *, skip: bool) -> None:
    if skip:
        for example in account.malformed:
            account.lost.note("what cannot be read (--skip-malformed)", example)
        return
    if account.malformed:
        shown = "".join(f"\n  - {problem}" for problem in account.malformed[:_SHOWN])
        more = f"\n  and {len(account.malformed) - _SHOWN} more" if len(account.malformed) > _SHOWN else ""
        raise DataError(
            f"{_number(account.malformed)} cannot be read, and nothing was written:{shown}{more}\n"
            "Correct them, or leave them out with --skip-malformed."
        )


def _refuse_nothing(source: Path, labels: Labels, account: Account) -> None:
    if any(image.objects for images in labels.parts.values() for image in images):
        return
    lost = "".join(f"\n  - {flaw.code}: {flaw.count} ({', '.join(flaw.examples)})" for flaw in account.losses())
    what = "objects" if any(labels.parts.values()) else "images with labels"
    raise DataError(
        f"{source} has no {what} that can be carried over, so nothing was written.{' Left out:' if lost else ''}{lost}"
    )


def _note_shared(labels: Labels, account: Account) -> None:
    """Images in more than one part: a model that is measured on what it learnt looks better than it is."""
    parts: dict[str, list[str]] = {}
    for part, images in labels.parts.items():
        for file in dict.fromkeys(os.path.abspath(image.file) for image in images):
            parts.setdefault(file, []).append(part)
    for file, names in parts.items():
        if len(names) > 1:
            account.changed.note(
                "images that several parts have: measured on them, the AP is too high", f"{file}: {' and '.join(names)}"
            )


def _number(problems: Sequence[str]) -> str:
    return "1 label" if len(problems) == 1 else f"{len(problems)} labels"
