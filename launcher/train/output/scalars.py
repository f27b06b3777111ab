"""The latest scalars of a training and the windows that they are smoothed over, as part of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.utils.events import EventStorage

KEPT = 200  # of each name; longer windows are not looked at
VALIDATION = "validation/"
"""With which the names of losses on validation images begin."""
TIMES = frozenset({"time", "data_time", "rank_data_time", "images_per_second", "data_wait"})


def scalars_of(storage: EventStorage) -> dict[str, Any]:
    """The scalars in plain values, without times: another attempt may run on another machine."""
    windows = {name: history.values()[-KEPT:] for name, history in storage.histories().items()}
    return {
        "latest": {name: list(pair) for name, pair in storage.latest().items() if name not in TIMES},
        "windows": {name: [list(pair) for pair in window] for name, window in windows.items() if name not in TIMES},
        "smoothed": dict(storage.smoothing_hints()),
    }


def put_back_scalars(storage: EventStorage, state: Mapping[str, Any]) -> None:
    for name, window in state.get("windows", {}).items():
        for value, iteration in window:
            storage.put_scalar(name, value, smoothing_hint=state["smoothed"][name], cur_iter=iteration)
    storage.latest().update({name: (value, iteration) for name, (value, iteration) in state.get("latest", {}).items()})
