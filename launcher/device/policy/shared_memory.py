"""How many loader workers /dev/shm has room for. Arithmetic on settings only."""

from __future__ import annotations

from launcher.config.keys import Keys

PREFETCHED = 2
"""Batches that torch has each worker prepare ahead."""
MIB = 1 << 20
LONGEST_TO_SHORTEST = 2.0
"""A whole batch of images longer than this is not expected, however large INPUT.MAX_SIZE_TRAIN is."""
OBJECTS_PER_IMAGE = 10
SEMANTIC = ("PanopticFPN", "SemanticSegmentor", "PanopticDeepLab")


def needed_per_worker_mib(keys: Keys, images: int) -> int:
    """What one loader worker has in /dev/shm at most, with that many images in a batch of its process; 0 if unknown.

    prefetched batches x images x pixels x bytes of a pixel. The pixels are those of the largest resized image, the
    largest INPUT.MIN_SIZE_TRAIN x INPUT.MAX_SIZE_TRAIN (at most twice the former). A pixel has 3 bytes; masks as
    bitmaps add one for each of some ten objects, a map of classes adds 8. Polygons and boxes are too small to count.
    """
    shortest, longest = _sizes(keys)
    if images < 1 or shortest < 1 or longest < 1:
        return 0
    pixels = min(longest, shortest * LONGEST_TO_SHORTEST) * shortest
    return max(1, int(PREFETCHED * images * pixels * _bytes_per_pixel(keys) / MIB))


def _sizes(keys: Keys) -> tuple[int, int]:
    """The largest shorter side of an image and the largest longer one; 0 where a setting does not say."""
    shorter, longer = keys.get("INPUT.MIN_SIZE_TRAIN", 0), keys.get("INPUT.MAX_SIZE_TRAIN", 0)
    choices = shorter if isinstance(shorter, (list, tuple)) else [shorter]
    numbers = [size for size in choices if isinstance(size, int)]
    return max(numbers, default=0), longer if isinstance(longer, int) else 0


def _bytes_per_pixel(keys: Keys) -> int:
    bitmaps = keys.get("MODEL.MASK_ON", False) and keys.get("INPUT.MASK_FORMAT", "polygon") == "bitmask"
    classes = keys.get("MODEL.META_ARCHITECTURE", "") in SEMANTIC
    return 3 + (OBJECTS_PER_IMAGE if bitmaps else 0) + (8 if classes else 0)
