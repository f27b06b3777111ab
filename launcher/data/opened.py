"""What the opened images of a data set say of its files. Decides only: `opening.py` opens them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from launcher.data.checks import IN_BOTH, of_run
from launcher.data.coco_file import CocoFacts
from launcher.data.facts import DatasetFacts
from launcher.data.finding import Finding, Severity
from launcher.data.image_files import TURNED, note_unlike_listed
from launcher.data.listed_image import ListedImage
from launcher.data.opening import OpenedImage
from launcher.data.tally import Tally, printable

LOOKED_INTO_SOME = ("image.wide", "image.other_size", "image.too_many_pixels")
"""Flaws that the headers of some images showed: what all images show takes their place."""
_NEAR = 6
"""Bits of 128 in which the looks of two images may differ."""
_BANDS = 8
"""Parts of a look: of two that differ in fewer bits than there are parts, one part is the same."""
_NEIGHBOURS = 8
"""Images of the same part that one is compared with: in a video all look alike."""
_SHOWN = 3

Opened = Mapping[str, Sequence[OpenedImage]]
"""By registered name, in the order of the file's `listed`."""


def with_opened(facts: DatasetFacts, opened: Opened) -> DatasetFacts:
    """The facts with what the opened images show."""
    coco = tuple(_with_images(one, opened[one.name]) if one.name in opened else one for one in facts.coco)
    return replace(facts, coco=coco)


def _with_images(coco: CocoFacts, opened: Sequence[OpenedImage]) -> CocoFacts:
    tally = Tally()
    for listed, image in zip(coco.listed, opened, strict=True):
        _judge(listed, image, tally)
    _note_repeated(coco.listed, opened, tally)
    kept = tuple(flaw for flaw in coco.flaws if flaw.code not in LOOKED_INTO_SOME)
    num_opened = sum(not image.is_missing for image in opened)
    return replace(coco, flaws=(*kept, *tally.result()), num_headers=num_opened, is_opened=True)


def _judge(listed: ListedImage, image: OpenedImage, tally: Tally) -> None:
    name = listed.file_name
    if image.is_missing:
        return
    if image.problem:
        tally.note("image.too_many_pixels" if image.is_too_large else "image.damaged", f"{name}: {image.problem}")
        return
    is_turned = image.orientation in TURNED
    size = image.size[::-1] if is_turned else image.size
    note_unlike_listed(listed, image.mode, size, tally, is_turned=is_turned)
    if size == listed.size and image.orientation != 1:
        is_told = is_turned and size[0] != size[1]
        tally.note("image.turned_as_listed" if is_told else "image.turned", f"{name}: orientation {image.orientation}")


def _note_repeated(listed: Sequence[ListedImage], opened: Sequence[OpenedImage], tally: Tally) -> None:
    first: dict[bytes, str] = {}
    for entry, image in zip(listed, opened, strict=True):
        if image.pixels and (other := first.setdefault(image.pixels, entry.file_name)) != entry.file_name:
            tally.note("image.same_content", f"{entry.file_name} and {other}")
    names = [entry.file_name for entry in listed]
    for early, late in nearly_same([image.look for image in opened]):
        if opened[early].pixels != opened[late].pixels:
            tally.note("image.nearly_same", f"{names[late]} and {names[early]}")


def nearly_same(looks: Sequence[bytes]) -> list[tuple[int, int]]:
    """Places of images that look alike, an earlier and a later one; every image at most once as the later."""
    places = np.array([place for place, look in enumerate(looks) if look], np.int64)
    if len(places) < 2:
        return []
    bits = np.frombuffer(b"".join(look for look in looks if look), np.uint8).reshape(len(places), -1)
    first: dict[int, int] = {}
    for one, other in _alike(bits):
        early, late = sorted((int(places[one]), int(places[other])))
        first[late] = min(early, first.get(late, early))
    return sorted((early, late) for late, early in first.items())


def _alike(bits: np.ndarray) -> Iterator[tuple[int, int]]:
    """Rows that differ in few bits: sorted by each of their parts in turn, they are neighbours at least once."""
    width = bits.shape[1] // _BANDS
    for band in range(_BANDS):
        order = np.lexsort(np.roll(bits, -band * width, axis=1).T[::-1])
        for ahead in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
            one, other = order[:-ahead], order[ahead:]
            is_near = np.unpackbits(bits[one] ^ bits[other], axis=1).sum(axis=1) <= _NEAR
            yield from zip(one[is_near].tolist(), other[is_near].tolist(), strict=True)


def findings_between(facts: DatasetFacts, opened: Opened) -> Iterator[Finding]:
    """Images that two files of a run share."""
    files = [coco for coco in facts.coco if coco.name in opened]
    for index, ours in enumerate(files):
        for theirs in files[index + 1 :]:
            yield from _shared(ours, theirs, opened[ours.name], opened[theirs.name])


def _shared(
    ours: CocoFacts, theirs: CocoFacts, our_images: Sequence[OpenedImage], their_images: Sequence[OpenedImage]
) -> Iterator[Finding]:
    by_pixels = {image.pixels: entry.file_name for entry, image in zip(ours.listed, our_images, strict=True)}
    same = [
        f"{entry.file_name} is {by_pixels[image.pixels]}"
        for entry, image in zip(theirs.listed, their_images, strict=True)
        if image.pixels and image.pixels in by_pixels
    ]
    between = (ours.split, theirs.split)
    if same:
        what = f"{len(same)} of {len(their_images)} images of {between[1]} are in {between[0]} too: the AP is too high"
        fix = f"Remove them from {between[0]}, or from {between[1]}"
        yield of_run(IN_BOTH, what, fix, severity=Severity.warning, count=len(same), examples=_first(same))
    alike = [
        f"{theirs.listed[late - len(our_images)].file_name} and {ours.listed[early].file_name}"
        for early, late in nearly_same([image.look for image in (*our_images, *their_images)])
        if early < len(our_images) <= late and our_images[early].pixels != their_images[late - len(our_images)].pixels
    ]
    if alike:
        what = f"{len(alike)} images of {between[1]} look nearly the same as one of {between[0]}"
        fix = "Split by scene, not by image, where they are of one"
        yield of_run(
            "image.nearly_in_both", what, fix, severity=Severity.hint, count=len(alike), examples=_first(alike)
        )


def _first(examples: Sequence[str]) -> list[str]:
    return [printable(example) for example in examples[:_SHOWN]]
