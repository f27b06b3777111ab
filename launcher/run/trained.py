"""What a run folder says of the settings with which its model was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.frozen import literal
from launcher.config.keys import Keys
from launcher.config.request import DEFAULT_OUTPUT_DIR
from launcher.errors import RequestError
from launcher.run.paths import RunPaths

_UNUSABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def read_trained(folder: Path, weights: str) -> dict[str, Any]:
    """The settings of the newest attempt whose plan can be read, as `run_hydra` takes them for `frozen`.

    Without what followed from its machine, and with MODEL.WEIGHTS as given.

    Raises:
        RequestError: no attempt has left such a plan.
    """
    paths = RunPaths(folder)
    for number in reversed(paths.attempt_numbers()):
        try:
            return trained_from(json.loads(paths.attempt(number).plan.read_text(encoding="utf-8")), weights)
        except _UNUSABLE:
            continue
    raise RequestError(
        f"{folder} does not say with which settings it was trained: no attempts/*/plan.json can be read, or an older "
        "launcher wrote it. Name the model and its weights instead: model=NAME MODEL.WEIGHTS=PATH."
    )


def trained_from(plan: Mapping[str, Any], weights: str) -> dict[str, Any]:
    """Of a plan that was read back from JSON, of version 2 or later."""
    task = plan["task"] if "task" in plan else plan["training"]
    own_code = plan["own_code"] if "own_code" in plan else task["own_code"]
    settings = {"dataset": _dataset_of(plan), "ema": task["ema"], **own_code, **_keys_of(plan, weights).nested()}
    return {name: literal(value) for name, value in settings.items()}


def _keys_of(plan: Mapping[str, Any], weights: str) -> Keys:
    keys = Keys(plan["keys"])
    undone = [
        Adjustment(setting=one["setting"], asked=one["planned"], planned=one["asked"], reason="of that machine only")
        for one in plan["devices"]["adjustments"]
        if one["setting"] in keys
    ]
    ours = {"OUTPUT_DIR": DEFAULT_OUTPUT_DIR, "MODEL.WEIGHTS": weights}
    return keys.with_(
        [*undone, *(Adjustment(setting=name, asked=None, planned=value, reason="") for name, value in ours.items())]
    )


def _dataset_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """With the places that the attempt read from: the current folder may be another one now."""
    dataset = dict(plan["identity"]["dataset"])
    splits = {split["name"]: split for split in plan["data"]["splits"]}
    for name in ("train", "val"):
        if split := splits.get(f"{dataset['name']}_{name}"):
            dataset[name] = {**dataset[name], "json": split["json"], "images": split["images"]}
    return {**dataset, "root": plan["data"]["environment"]["DETECTRON2_DATASETS"]}
