"""What SOLVER.REFERENCE_WORLD_SIZE means for another number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.config.adjustment import Adjustment, look_up

SCALED_INVERSELY = ("SOLVER.MAX_ITER", "SOLVER.WARMUP_ITERS", "SOLVER.CHECKPOINT_PERIOD", "TEST.EVAL_PERIOD")


def scaled_to(num_processes: int, keys: Mapping[str, Any]) -> list[Adjustment]:
    """Keep the images per process of the reference: detectron2's `DefaultTrainer.auto_scale_workers`, but in the plan.

    Total batch and learning rate grow with the number of processes (the linear rule of arXiv:1706.02677), iteration
    counts shrink with it. Nothing changes where SOLVER.REFERENCE_WORLD_SIZE is 0 or that number.
    """
    reference = look_up(keys, "SOLVER.REFERENCE_WORLD_SIZE")
    if reference in (0, num_processes):
        return []
    scale = num_processes / reference
    planned: dict[str, Any] = {
        "SOLVER.IMS_PER_BATCH": round(look_up(keys, "SOLVER.IMS_PER_BATCH") * scale),
        "SOLVER.BASE_LR": look_up(keys, "SOLVER.BASE_LR") * scale,
        **{key: round(look_up(keys, key) / scale) for key in SCALED_INVERSELY},
        "SOLVER.STEPS": [round(step / scale) for step in look_up(keys, "SOLVER.STEPS")],
        "SOLVER.REFERENCE_WORLD_SIZE": num_processes,
    }
    reason = f"SOLVER.REFERENCE_WORLD_SIZE={reference}, and there are {num_processes} processes"
    return [
        Adjustment(setting=key, asked=look_up(keys, key), planned=value, reason=reason)
        for key, value in planned.items()
        if value != look_up(keys, key)
    ]
