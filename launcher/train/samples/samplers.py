"""detectron2's training samplers as an order of samples that can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.detection_utils import check_metadata_consistency
from detectron2.data.samplers import RepeatFactorTrainingSampler

from launcher.errors import RequestError
from launcher.train.samples.indexed import IndexedRecords, open_records
from launcher.train.samples.order import SampleOrder, each_once, subset_once

Records = list[dict[str, Any]] | IndexedRecords
"""Samples in detectron2's dataset format."""


def train_records(cfg: CfgNode) -> list[Any]:
    """What DATASETS.TRAIN holds, filtered as configured: one part per data set where the sampler weighs data sets.

    A part is a list of records, or `IndexedRecords` where all data sets have indexes, or a `torch.utils.data.Dataset`
    where somebody registered that.
    """
    names = list(cfg.DATASETS.TRAIN)
    if cfg.DATALOADER.SAMPLER_TRAIN not in WEIGH_DATASETS:
        return [read_records(cfg, names, training=True)]
    parts = [_open(cfg, [name], training=True) for name in names]
    if all(part is not None for part in parts):
        check_metadata_consistency("thing_classes", names)
        return parts
    if all("thing_classes" in MetadataCatalog.get(name).as_dict() for name in names):
        check_metadata_consistency("thing_classes", names)
    return [_read(cfg, [name], training=True) for name in names]


def read_records(cfg: CfgNode, names: Sequence[str], *, training: bool) -> Any:
    """What some data sets hold, without what is not to be trained on where it is for training."""
    opened = _open(cfg, names, training=training)
    return _read(cfg, names, training=training) if opened is None else opened


def _open(cfg: CfgNode, names: Sequence[str], *, training: bool) -> IndexedRecords | None:
    return None if cfg.MODEL.LOAD_PROPOSALS else open_records(names, **_filters(cfg, training=training))


def _read(cfg: CfgNode, names: Sequence[str], *, training: bool) -> Any:
    part = "TRAIN" if training else "TEST"
    files = dict(zip(cfg.DATASETS[part], cfg.DATASETS[f"PROPOSAL_FILES_{part}"], strict=False))
    return get_detection_dataset_dicts(
        names,
        proposal_files=[files[name] for name in names if name in files] if cfg.MODEL.LOAD_PROPOSALS else None,
        **_filters(cfg, training=training),
    )


def _filters(cfg: CfgNode, *, training: bool) -> dict[str, Any]:
    fewest = cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if training and cfg.MODEL.KEYPOINT_ON else 0
    return {"filter_empty": training and cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS, "min_keypoints": fewest}


def why_not_exact(cfg: CfgNode, parts: Sequence[Any]) -> str:
    """Why only detectron2's own loader can serve this, empty where an order of samples can be made."""
    if not all(isinstance(part, (list, IndexedRecords)) for part in parts):
        return "a data set is not a list of records"
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING and not all("width" in r and "height" in r for r in _listed(parts)):
        return "images without width and height are to be grouped by shape (DATALOADER.ASPECT_RATIO_GROUPING)"
    return ""


def _listed(parts: Sequence[Records]) -> Iterator[dict[str, Any]]:
    """The records that anybody may have made; those that an index gives have everything."""
    return chain(*(part for part in parts if isinstance(part, list)))


def sample_order(cfg: CfgNode, parts: Sequence[Records], seed: int) -> SampleOrder:
    """The order of the samples of `parts`, one after the other.

    Raises:
        RequestError: settings of the sampler cannot be followed; every one is named.
    """
    if problems := list(_problems_with_sampler(cfg, parts)):
        raise RequestError("\n".join(problems))
    is_wide = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        is_wide = np.concatenate([_is_wide(part) for part in parts])
    factors = FACTORS[cfg.DATALOADER.SAMPLER_TRAIN](cfg, parts, seed)
    return SampleOrder(seed=seed, factors=factors, is_wide=is_wide, batch_size=cfg.SOLVER.IMS_PER_BATCH)


def _is_wide(part: Records) -> np.ndarray:
    if isinstance(part, IndexedRecords):
        return part.is_wide()
    return np.array([record["width"] > record["height"] for record in part], bool)


def _problems_with_sampler(cfg: CfgNode, parts: Sequence[Records]) -> Iterator[str]:
    sampler, size = cfg.DATALOADER.SAMPLER_TRAIN, sum(len(part) for part in parts)
    if sampler in WEIGH_CATEGORIES and not all("annotations" in record for record in _listed(parts)):
        yield f"DATALOADER.SAMPLER_TRAIN={sampler} counts annotated objects, and there are images without annotations."
    if sampler == "RandomSubsetTrainingSampler":
        ratio = cfg.DATALOADER.RANDOM_SUBSET_RATIO
        if not (0 < ratio <= 1 and int(size * ratio) > 0):
            yield (
                f"DATALOADER.RANDOM_SUBSET_RATIO={ratio} leaves nothing of {size} images, or asks for more than all. "
                f"Give a number from {1 / size:.2g} to 1."
            )
    if sampler in WEIGH_DATASETS:
        yield from _problems_with_weights(cfg)


def _problems_with_weights(cfg: CfgNode) -> Iterator[str]:
    weights = cfg.DATASETS.TRAIN_REPEAT_FACTOR
    if not all(len(pair) == 2 for pair in weights):
        yield f"DATASETS.TRAIN_REPEAT_FACTOR={weights} is no list of pairs. Give [[NAME,FACTOR],...]."
        return
    if unknown := [name for name, _ in weights if name not in cfg.DATASETS.TRAIN]:
        yield (
            f"DATASETS.TRAIN_REPEAT_FACTOR names {', '.join(map(str, unknown))}, "
            f"but DATASETS.TRAIN holds {', '.join(cfg.DATASETS.TRAIN)}."
        )
    allowed = _weights(cfg)
    if min(allowed) < 0 or max(allowed) <= 0:
        yield f"DATASETS.TRAIN_REPEAT_FACTOR={weights}: factors are 0 or more, and one of them is more than 0."
    elif cfg.DATALOADER.SAMPLER_TRAIN in WEIGH_CATEGORIES and min(allowed) == 0:
        yield f"DATASETS.TRAIN_REPEAT_FACTOR={weights}: with WeightedCategoryTrainingSampler factors are more than 0."


def _weights(cfg: CfgNode) -> list[float]:
    """One factor per name in DATASETS.TRAIN."""
    given = {name: float(factor) for name, factor in cfg.DATASETS.TRAIN_REPEAT_FACTOR}
    return [given.get(name, 1.0) for name in cfg.DATASETS.TRAIN]


def _all_once(cfg: CfgNode, parts: Sequence[Records], seed: int) -> np.ndarray:  # noqa: ARG001 - one signature for all
    return each_once(sum(len(part) for part in parts))


def _some_once(cfg: CfgNode, parts: Sequence[Records], seed: int) -> np.ndarray:
    return subset_once(sum(len(part) for part in parts), cfg.DATALOADER.RANDOM_SUBSET_RATIO, seed)


def _by_category(cfg: CfgNode, parts: Sequence[Records], seed: int) -> np.ndarray:  # noqa: ARG001
    rates = cfg.DATALOADER.REPEAT_THRESHOLD, cfg.DATALOADER.REPEAT_SQRT
    known = [part.categories() if isinstance(part, IndexedRecords) else part for part in parts]
    factors = [RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(part, *rates) for part in known]
    return np.concatenate([factor.numpy().astype(float) for factor in factors])


def _by_dataset(cfg: CfgNode, parts: Sequence[Records], seed: int) -> np.ndarray:  # noqa: ARG001
    return np.repeat(_weights(cfg), [len(part) for part in parts])


def _by_dataset_and_category(cfg: CfgNode, parts: Sequence[Records], seed: int) -> np.ndarray:
    factors = _by_dataset(cfg, parts, seed) * _by_category(cfg, parts, seed)
    return factors / factors.min()


FACTORS: dict[str, Callable[[CfgNode, Sequence[Records], int], np.ndarray]] = {
    "TrainingSampler": _all_once,
    "RepeatFactorTrainingSampler": _by_category,
    "RandomSubsetTrainingSampler": _some_once,
    "WeightedTrainingSampler": _by_dataset,
    "WeightedCategoryTrainingSampler": _by_dataset_and_category,
}
"""How often each sample comes in an epoch, by DATALOADER.SAMPLER_TRAIN."""

WEIGH_DATASETS = ("WeightedTrainingSampler", "WeightedCategoryTrainingSampler")
WEIGH_CATEGORIES = ("RepeatFactorTrainingSampler", "WeightedCategoryTrainingSampler")
