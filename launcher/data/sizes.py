"""Boxes and images at the size at which a model sees them, against its anchors. Decides only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from launcher.config.keys import Keys
from launcher.data.checks import of_file
from launcher.data.coco_file import CocoFacts
from launcher.data.finding import Finding, Severity
from launcher.data.tally import printable

_WITH_ANCHORS = {"GeneralizedRCNN": "RPN", "PanopticFPN": "RPN", "RetinaNet": "RetinaNet"}
_FEWEST_BOXES = 20
_FITS = 0.3
"""Intersection over union with the best anchor at the same centre: below, an RPN learns a box by exception only."""
_SOME, _MOST = 0.25, 0.5
"""Parts of all boxes, from which on they are a hint and a warning."""
_TINY = 8.0
"""Pixels at the model's input: the finest level of an FPN has a cell for every four."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Percentiles (5, 50, 95) of a file's boxes, by the square root of their area."""

    in_image: tuple[float, float, float]
    """In pixels of the images."""
    in_model: tuple[float, float, float] | None
    """In pixels of what the model gets; None where no model has been chosen."""
    scale: float
    """The median factor between them."""


def sizes_of(coco: CocoFacts, keys: Keys, *, has_model: bool) -> Sizes | None:
    """None for a file without sound boxes."""
    boxes = _boxes(coco)
    if not len(boxes):
        return None
    sides, scales = np.sqrt(boxes[:, 0] * boxes[:, 1]), _scales(boxes, keys)
    return Sizes(
        in_image=_percentiles(sides),
        in_model=_percentiles(sides * scales) if has_model else None,
        scale=round(float(np.median(scales)), 3) if has_model else 1.0,
    )


def findings_about_sizes(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    """Boxes that the model's anchors do not fit, or that are nearly nothing where it sees them."""
    boxes = _boxes(coco)
    if len(boxes) < _FEWEST_BOXES:
        return
    seen = boxes[:, :2] * _scales(boxes, keys)[:, None]
    sides = np.sqrt(seen[:, 0] * seen[:, 1])
    tiny = float((sides < _TINY).mean())
    if tiny >= _SOME:
        what = f"{tiny:.0%} of the boxes are smaller than {_TINY:.0f} pixels where the model sees them"
        yield _finding("box.tiny", coco, tiny, what, "Raise INPUT.MIN_SIZE_TRAIN and _TEST, or cut the images to tiles")
    anchors = _anchors(keys)
    if anchors is None:
        return
    unfit = float((_best_fit(seen, anchors) < _FITS).mean())
    if unfit >= _SOME:
        low, middle, high = _percentiles(sides)
        what = (
            f"{unfit:.0%} of the boxes fit none of the model's anchors (intersection over union below {_FITS}): boxes "
            f"are {low:g} to {high:g} pixels there, {middle:g} in the middle, anchors "
            f"{anchors.sizes.min():g} to {anchors.sizes.max():g}"
        )
        fix = f"Set MODEL.ANCHOR_GENERATOR.SIZES={_better(keys, low, high)}"
        yield _finding("box.anchors", coco, unfit, what, fix)


def _finding(code: str, coco: CocoFacts, part: float, what: str, fix: str) -> Finding:
    severity = Severity.warning if part >= _MOST else Severity.hint
    return of_file(code, coco, printable(what), fix, severity=severity, count=round(part * coco.objects.num))


def _boxes(coco: CocoFacts) -> np.ndarray:
    """Width and height of boxes with an area, and of their images."""
    rows = np.array(coco.objects.box_sample, np.float64).reshape(-1, 4)
    sound: np.ndarray = rows[(rows > 0).all(axis=1)]
    return sound


def _scales(boxes: np.ndarray, keys: Keys) -> np.ndarray:
    """By which the images are resized: as detectron2's ResizeShortestEdge, with the largest of the sizes."""
    shortest, longest = max(_flat(keys["INPUT.MIN_SIZE_TRAIN"]), default=0), keys["INPUT.MAX_SIZE_TRAIN"]
    if not shortest:
        return np.ones(len(boxes))
    scales: np.ndarray = np.minimum(shortest / boxes[:, 2:].min(axis=1), longest / boxes[:, 2:].max(axis=1))
    return scales


def _percentiles(numbers: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = (float(f"{number:.3g}") for number in np.percentile(numbers, (5, 50, 95)))
    return low, middle, high


@dataclass(frozen=True, kw_only=True, eq=False)
class _Anchors:
    sizes: np.ndarray
    ratios: np.ndarray


def _anchors(keys: Keys) -> _Anchors | None:
    """None for a model that has none that we know."""
    generator = _WITH_ANCHORS.get(keys["MODEL.META_ARCHITECTURE"])
    named = keys["MODEL.PROPOSAL_GENERATOR.NAME"] if generator == "RPN" else generator
    if named != generator or keys["MODEL.ANCHOR_GENERATOR.NAME"] != "DefaultAnchorGenerator":
        return None
    sizes, ratios = (_flat(keys[f"MODEL.ANCHOR_GENERATOR.{name}"]) for name in ("SIZES", "ASPECT_RATIOS"))
    return _Anchors(sizes=np.array(sizes, np.float64), ratios=np.array(ratios, np.float64)) if sizes else None


def _flat(value: Any) -> list[float]:
    return [one for part in value for one in _flat(part)] if isinstance(value, list | tuple) else [value]


def _best_fit(seen: np.ndarray, anchors: _Anchors) -> np.ndarray:
    sizes, ratios = (grid.ravel() for grid in np.meshgrid(anchors.sizes, anchors.ratios))
    widths, heights = sizes / np.sqrt(ratios), sizes * np.sqrt(ratios)
    shared = np.minimum(seen[:, :1], widths) * np.minimum(seen[:, 1:], heights)
    fits: np.ndarray = (shared / (seen[:, :1] * seen[:, 1:] + widths * heights - shared)).max(axis=1)
    return fits


def _better(keys: Keys, low: float, high: float) -> str:
    """As many sizes as there are, in the same lists, evenly spread over what most boxes have."""
    lists: Sequence[Any] = keys["MODEL.ANCHOR_GENERATOR.SIZES"]
    nested = [one if isinstance(one, list | tuple) else [one] for one in lists]
    number = sum(map(len, nested))
    sizes = iter(np.geomspace(max(low, _TINY), max(high, 2 * _TINY), number).round().astype(int).tolist())
    return "[" + ",".join("[" + ",".join(str(next(sizes)) for _ in one) + "]" for one in nested) + "]"
