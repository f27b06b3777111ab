"""What there is to choose from: models, data sets, experiments, settings, with a few words each. Composes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.config.keys import Keys
from launcher.config.known_datasets import find_registered, registered_names
from launcher.config.known_keys import Detectron2Keys
from launcher.config.known_settings import known_settings
from launcher.config.presets import MODEL_GROUP, presets
from launcher.config.readers import ARCHITECTURE, WITH_HEADS

FINDS = {
    "PanopticFPN": "panoptic segmentation",
    "SemanticSegmentor": "semantic segmentation",
    "ProposalNetwork": "proposals",
}
"""By architecture; all others find objects."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One thing to choose."""

    name: str
    """As it is typed."""
    facts: Mapping[str, str]
    """By heading, in the order of the columns."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where to look for what is not installed."""

    folders: Sequence[Path]
    """Of files of settings, the user's own first."""
    datasets: Path
    """Of detectron2's own data sets."""


def models(known: Detectron2Keys, places: Places) -> Iterator[Offer]:
    """`model=NAME`: the user's own files, then the zoo's."""
    for preset in presets(MODEL_GROUP, places.folders):
        yield Offer(name=preset.name, facts={"finds": "", "weights": "", "about": preset.summary or str(preset.file)})
    for name in known.zoo:
        weights = "yes" if name in known.weights else ""
        yield Offer(name=name, facts={"finds": _finds(known.of_model(name)), "weights": weights, "about": ""})


def datasets(known: Detectron2Keys, places: Places) -> Iterator[Offer]:  # noqa: ARG001
    """`dataset=NAME`, and the names for DATASETS.TRAIN and DATASETS.TEST that detectron2 registers."""
    for preset in presets("dataset", places.folders):
        typed = f"dataset={preset.name}"
        yield Offer(name=typed, facts={"classes": "", "here": "", "about": preset.summary})
    for name in registered_names():
        entry = find_registered(name)
        if entry is not None:
            is_here = all(os.path.exists(places.datasets / need) for need in entry.needs)
            classes = str(entry.num_classes or "")
            facts = {"classes": classes, "here": "yes" if is_here else "", "about": entry.origin.title}
            yield Offer(name=name, facts=facts)


def experiments(known: Detectron2Keys, places: Places) -> Iterator[Offer]:  # noqa: ARG001
    """`experiment=NAME`: whole recipes."""
    for preset in presets("experiment", places.folders):
        yield Offer(name=preset.name, facts={"about": preset.summary, "file": str(preset.file)})


def settings(known: Detectron2Keys, places: Places) -> Iterator[Offer]:  # noqa: ARG001
    """`NAME=VALUE`: the launcher's, then detectron2's keys."""
    for one in known_settings(known):
        yield Offer(name=one.name, facts={"default": one.default, "about": one.meaning})


OFFERS: Mapping[str, Callable[[Detectron2Keys, Places], Iterator[Offer]]] = {
    "models": models,
    "datasets": datasets,
    "experiments": experiments,
    "settings": settings,
}


def _finds(keys: Keys) -> str:
    architecture = keys.get(ARCHITECTURE, "")
    if architecture in FINDS:
        return FINDS[architecture]
    has_heads = architecture in WITH_HEADS
    more = [
        name for name, key in (("masks", "MODEL.MASK_ON"), ("keypoints", "MODEL.KEYPOINT_ON")) if keys.get(key, False)
    ]
    return ", ".join(["boxes", *(more if has_heads else ())])
