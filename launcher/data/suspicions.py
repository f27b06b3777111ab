"""Data that cannot be meant as it is written: what each kind is called, and from which number on it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.config.asked import names_in
from launcher.config.keys import Keys
from launcher.data.coco_file import CocoFacts
from launcher.data.tally import Flaw

_REFUSED_FROM = 0.5
"""Of all objects: from here on, what is learnt or measured means nothing."""

_DECODED = "masks (RLE)"


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """One kind of data that can be read and hardly be meant."""

    message: str
    """Begins behind `n of m objects`; says the likely cause."""
    matters_with: str = ""
    """The key that makes it matter; where that is off, nothing is said."""
    refused_in: tuple[str, ...] = ("TRAIN", "TEST")
    """The parts of DATASETS where a file is refused that is mostly so."""
    of: str = "objects"
    """What its number is a part of: objects, images, or masks that were looked into."""
    hides: tuple[str, ...] = ()
    """What follows from it where most objects are so."""


SUSPICIONS = {
    "box.fraction": Suspicion(
        message="have a bbox within the first pixel of the image: they look like fractions of the image size, "
        "normalized to 0..1. COCO's bbox is [x, y, width, height] in pixels"
    ),
    "box.corners": Suspicion(
        message="have a bbox that does not fit as [x, y, width, height] and does as two corners [x1, y1, x2, y2]. "
        "COCO's bbox is [x, y, width, height] in pixels"
    ),
    "box.centers": Suspicion(
        message="have a bbox that does not fit as [x, y, width, height] and does as [x, y] of the center with width "
        "and height, as YOLO has it. COCO's x and y are the left top corner: subtract half of width and height",
        hides=("box.outside", "box.beyond", "box.corners"),
    ),
    "box.swapped": Suspicion(
        message="have a bbox that does not fit as [x, y, width, height] and does as [y, x, height, width], or in an "
        "image whose width and height are exchanged. Where the file lists the images as they are, exchange the boxes, "
        "and look whether the polygons are rows before columns too",
        hides=("box.outside", "box.beyond", "box.corners", "polygon.beyond"),
    ),
    "box.swapped_corners": Suspicion(
        message="have a bbox that does not fit as [x, y, width, height] and does as two corners [y1, x1, y2, x2]. "
        "COCO's bbox is [x, y, width, height] in pixels",
        hides=("box.outside", "box.beyond", "box.corners"),
    ),
    "box.percent": Suspicion(
        message="have a bbox within the first 100 pixels of images that are larger: they look like percent of the "
        "image size, as Label Studio has them. COCO's bbox is [x, y, width, height] in pixels",
    ),
    "box.thousandths": Suspicion(
        message="have a bbox within the first 1000 pixels of images that are larger: they look like thousandths of "
        "the image size. COCO's bbox is [x, y, width, height] in pixels",
    ),
    "box.scaled": Suspicion(
        message="have a bbox in the left top quarter of their image, and none reaches further: were the images "
        "enlarged, or the boxes drawn on smaller copies",
        refused_in=(),
    ),
    "annotation.repeated": Suspicion(
        message="repeat another one, with the same image, category and bbox: was the file merged with a copy of "
        "itself? Evaluated, a repeated object counts as missed, and the AP is too low",
        refused_in=("TEST",),
    ),
    "image.repeated": Suspicion(
        message="have the file_name of another one: list each image once, with the objects of all. Objects that "
        "another entry has count as background in this one",
        of="images",
    ),
    "mask.blank": Suspicion(
        message="have a mask without a single pixel (an RLE of background, or polygons on a line)",
        matters_with="MODEL.MASK_ON",
    ),
    "rle.not_in_box": Suspicion(
        message="that were looked into do not fit the bbox of their object: an RLE of another object, one written row "
        "by row (COCO's runs down the columns), or a bbox that is not [x, y, width, height]",
        matters_with="MODEL.MASK_ON",
        of=_DECODED,
    ),
    "box.outside": Suspicion(
        message="have boxes that lie outside their image: were the images resized, or are they other images"
    ),
    "box.beyond": Suspicion(
        message="have a bbox that reaches beyond the image: COCO's bbox is [x, y, width, height] in pixels of the "
        "image as listed, not corners, not the centre; or were the images resized"
    ),
    "polygon.fraction": Suspicion(
        message="have a segmentation within the first pixel of the image: the polygons look like fractions of the "
        "image size, normalized to 0..1. COCO's are in pixels",
        matters_with="MODEL.MASK_ON",
    ),
    "polygon.not_in_box": Suspicion(
        message="have a segmentation that does not fit their own bbox: polygons at another scale, of another "
        "object, or a bbox that is not [x, y, width, height]",
        matters_with="MODEL.MASK_ON",
    ),
    "polygon.beyond": Suspicion(
        message="have a segmentation that reaches beyond the image: polygons at another scale or in map "
        "coordinates, or images resized afterwards. COCO's are in pixels of the image as listed",
        matters_with="MODEL.MASK_ON",
    ),
    "keypoints.fraction": Suspicion(
        message="have all keypoints within the first pixel of the image: they look like fractions of the image size, "
        "normalized to 0..1. COCO's are in pixels",
        matters_with="MODEL.KEYPOINT_ON",
    ),
    "keypoints.beyond": Suspicion(
        message="have visible keypoints beyond their image, which detectron2 treats as not labeled: are they in pixels "
        "of the image as listed, or were the images resized",
        matters_with="MODEL.KEYPOINT_ON",
    ),
    "keypoints.not_in_box": Suspicion(
        message="have most of their visible keypoints outside of their own bbox: keypoints at another scale, of "
        "another object, relative to the bbox, or a bbox that is not [x, y, width, height]",
        matters_with="MODEL.KEYPOINT_ON",
    ),
    "keypoints.number": Suspicion(
        message="have a `num_keypoints` that is not the number of their visible keypoints, and COCO evaluation "
        "leaves out objects where it is 0",
        matters_with="MODEL.KEYPOINT_ON",
    ),
}
_MISPLACED = ("box.corners", "box.centers", "box.swapped", "box.swapped_corners", "box.outside", "box.beyond")
"""One mistake makes all of these, of one object this and of another one that."""


@dataclass(frozen=True, kw_only=True)
class Suspected:
    """A flaw of a file that speaks against its being meant so."""

    flaw: Flaw
    is_refused: bool
    """Most objects are so, and nothing can be learnt or measured."""
    what: str
    """Without examples."""


def suspect(coco: CocoFacts, keys: Keys) -> Iterator[Suspected]:
    """The kinds of data in a file that can hardly be meant."""
    for flaw in _found(coco, keys):
        kind = SUSPICIONS[flaw.code]
        what = f"{flaw.count} of {_total(flaw, coco)} {kind.of} {kind.message}"
        yield Suspected(flaw=flaw, is_refused=_is_refused(flaw, coco, keys), what=what)


def _found(coco: CocoFacts, keys: Keys) -> Iterator[Flaw]:
    most = [SUSPICIONS[flaw.code] for flaw in coco.flaws if flaw.code in SUSPICIONS and _is_most(flaw, coco)]
    hidden = {code for kind in most for code in kind.hides}
    for flaw in coco.flaws:
        kind = SUSPICIONS.get(flaw.code)
        if kind and flaw.code not in hidden and (not kind.matters_with or keys[kind.matters_with]):
            yield flaw


def _is_refused(flaw: Flaw, coco: CocoFacts, keys: Keys) -> bool:
    parts = SUSPICIONS[flaw.code].refused_in
    return _is_most(flaw, coco) and any(coco.name in names_in(keys, part) for part in parts)


def _is_most(flaw: Flaw, coco: CocoFacts) -> bool:
    if SUSPICIONS[flaw.code].of == _DECODED and 2 * coco.objects.num_with_rle < coco.objects.num:
        return False
    alike = _MISPLACED if flaw.code in _MISPLACED else (flaw.code,)
    count = sum(other.count for other in coco.flaws if other.code in alike)
    return count >= max(1, _REFUSED_FROM * _total(flaw, coco))


def _total(flaw: Flaw, coco: CocoFacts) -> int:
    """How many could be so."""
    totals = {"images": coco.num_images, _DECODED: coco.objects.num_decoded}
    return totals.get(SUSPICIONS[flaw.code].of, coco.objects.num)
