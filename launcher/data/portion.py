"""One part of an annotation file that trains and validates: which images are in it. The same on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# Roboflow names what it made of photo.jpg photo_jpg.rf.<digits>.jpg, and exports several of these.
_ROBOFLOW = re.compile(r"\.rf\.[0-9A-Za-z]{16,}(?=\.\w+$)")


@dataclass(frozen=True, kw_only=True)
class Portion:
    """A part of the images of a file, and their annotations."""

    fraction: float
    """Of the images, that is for validation."""
    seed: int
    """Which ones those are."""
    is_val: bool
    """Whether it is that part; otherwise it is the rest."""

    def images(self, entries: Sequence[Any]) -> list[int]:
        """The places of its images among all."""
        chosen = _for_validation(entries, self)
        return [place for place in range(len(entries)) if (place in chosen) is self.is_val]

    def annotations(self, image_ids: Iterable[Any], entries: Sequence[Any]) -> list[int]:
        """The places of its annotations among all, by the id of the image of each; `entries` are all images.

        What belongs to no image is in the part to train on.
        """
        ids = {entries[place]["id"] for place in _for_validation(entries, self)}
        return [place for place, image in enumerate(image_ids) if _is_among(image, ids) is self.is_val]


def _is_among(image: Any, ids: Collection[Any]) -> bool:
    try:
        return image in ids
    except TypeError:  # a list, or an object
        return False


def _for_validation(entries: Sequence[Any], asked: Portion) -> set[int]:
    """Groups of images in an order that the seed gives, until there are enough; the last one always trains."""
    groups = _groups(entries)
    ranked = sorted(groups, key=lambda name: hashlib.sha256(f"{asked.seed}:{name}".encode()).digest())
    wanted = max(1, int(asked.fraction * len(entries) + 0.5))
    chosen: set[int] = set()
    for name in ranked[:-1]:
        if len(chosen) >= wanted:
            break
        chosen.update(groups[name])
    return chosen


def _groups(entries: Sequence[Any]) -> dict[str, list[int]]:
    """Places of images that stay together: of one file, of one id, or made of one photograph by Roboflow."""
    groups: dict[str, list[int]] = {}
    by_id: dict[Any, str] = {}
    for place, entry in enumerate(entries):
        if (name := _name_of(entry)) and not isinstance(image_id := entry.get("id"), (list, dict, type(None))):
            groups.setdefault(by_id.setdefault(image_id, name), []).append(place)
    return groups


def _name_of(entry: Any) -> str:
    name = entry.get("file_name") if isinstance(entry, dict) else None
    return _ROBOFLOW.sub("", name) if isinstance(name, str) else ""


def cut(content: dict[str, Any], portion: Portion) -> dict[str, Any]:
    """A COCO file's content with that part of its images and annotations alone."""
    images, annotations = content["images"], content["annotations"]
    of_images = (entry.get("image_id") if isinstance(entry, dict) else None for entry in annotations)
    return {
        **content,
        "images": [images[place] for place in portion.images(images)],
        "annotations": [annotations[place] for place in portion.annotations(of_images, images)],
    }
