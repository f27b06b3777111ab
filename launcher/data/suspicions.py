"""Data that cannot be meant as it is written: what each kind is called, and from which number on it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.config.keys import Keys
from launcher.data.coco_file import CocoFacts
from launcher.data.tally import Flaw

_REFUSED_FROM = 0.5
"""Of all objects: from here on, what is learnt or measured means nothing."""


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """One kind of data that can be read and hardly be meant."""

    message: str
    """Begins behind `n of m objects`; says the likely cause."""
    matters_with: str = ""
    """The key that makes it matter; where that is off, nothing is said."""


_SUSPICIONS = {
    "box.fraction": Suspicion(
        message="have a bbox within the first pixel of the image: they look like fractions of the image size, "
        "normalized to 0..1. COCO's bbox is [x, y, width, height] in pixels"
    ),
    "box.corners": Suspicion(
        message="have a bbox that does not fit as [x, y, width, height] and does as two corners [x1, y1, x2, y2]. "
        "COCO's bbox is [x, y, width, height] in pixels"
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
    "keypoints.number": Suspicion(
        message="have a `num_keypoints` that is not the number of their visible keypoints, and COCO evaluation "
        "leaves out objects where it is 0",
        matters_with="MODEL.KEYPOINT_ON",
    ),
}
_MISPLACED = ("box.corners", "box.outside", "box.beyond")
"""One mistake makes all of these, of one object this and of another one that."""


def suspicious_problems(coco: CocoFacts, keys: Keys) -> Iterator[str]:
    """The kinds that most objects have, so that nothing can be learnt or measured."""
    return (_say(flaw, coco) for flaw in _found(coco, keys) if _is_most(flaw, coco))


def suspicious_notices(coco: CocoFacts, keys: Keys) -> Iterator[str]:
    """The kinds that some objects have."""
    return (_say(flaw, coco) for flaw in _found(coco, keys) if not _is_most(flaw, coco))


def _found(coco: CocoFacts, keys: Keys) -> Iterator[Flaw]:
    for flaw in coco.flaws:
        kind = _SUSPICIONS.get(flaw.code)
        if kind and (not kind.matters_with or keys[kind.matters_with]):
            yield flaw


def _is_most(flaw: Flaw, coco: CocoFacts) -> bool:
    alike = _MISPLACED if flaw.code in _MISPLACED else (flaw.code,)
    count = sum(other.count for other in coco.flaws if other.code in alike)
    return count >= max(1, _REFUSED_FROM * coco.objects.num)


def _say(flaw: Flaw, coco: CocoFacts) -> str:
    examples = "; ".join(flaw.examples) + ("; ..." if flaw.count > len(flaw.examples) else "")
    return f"{flaw.count} of {coco.objects.num} objects {_SUSPICIONS[flaw.code].message} ({examples})"
