"""Batch, micro-batch and learning rate on another number of processes than the configuration was made for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.asked import count_of
from launcher.config.keys import Keys
from launcher.config.request import RunRequest, Scaling
from launcher.errors import RequestError

REFERENCE = "REFERENCE_WORLD_SIZE"
SCALED_INVERSELY = ("SOLVER.MAX_ITER", "SOLVER.WARMUP_ITERS", "SOLVER.CHECKPOINT_PERIOD", "TEST.EVAL_PERIOD")


@dataclass(frozen=True, kw_only=True)
class ScalingPlan:
    """How each process works through its part of the batch."""

    accumulate: int
    """Micro-batches per step: gradients are accumulated over them."""
    adjustments: tuple[Adjustment, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The largest micro-batch, and where that number comes from."""

    images: int
    reason: str


def plan_scaling(
    request: RunRequest,
    *,
    num_processes: int,
    kind: str,
    learned_micro_batch: int | None = None,
    begun_with: int | None = None,
) -> ScalingPlan:
    """Keep the meaning of the configuration on `num_processes` processes of a kind of device.

    `learned_micro_batch` is the micro-batch to which earlier attempts were reduced after running out of memory. A run
    that has `begun_with` another number of processes keeps the batch and the schedule that it began with.

    Raises:
        RequestError: that batch cannot be split equally.
    """
    keys = request.keys
    scaled = scale_to(begun_with or num_processes, keys) if request.scaling is Scaling.linear else []
    batch = keys.with_(scaled)["SOLVER.IMS_PER_BATCH"]
    if scaled and batch % num_processes:
        raise RequestError(
            f"This run began with {begun_with} processes and a batch of {batch} images, which cannot be split equally "
            f"between {num_processes} processes. Set a device.count that divides {batch}."
        )
    # The device plan refuses any other batch that cannot be split equally.
    per_process = max(1, batch // num_processes)
    limit = min(_limits(request, per_process, learned_micro_batch), key=lambda limit: limit.images)
    accumulate = _ceil(per_process, limit.images)
    reason = f"{limit.reason}, and {_there_are(num_processes, kind)}"
    return ScalingPlan(
        accumulate=accumulate,
        adjustments=(*scaled, *_adjust_micro_batch(per_process, accumulate, reason)),
        notices=tuple(_notices(request, num_processes)),
    )


def _limits(request: RunRequest, per_process: int, learned: int | None) -> Iterator[Limit]:
    yield Limit(images=per_process, reason="all at once")
    if request.device.micro_batch > 0:
        yield Limit(images=request.device.micro_batch, reason=f"device.micro_batch={request.device.micro_batch}")
    elif request.scaling is Scaling.keep_batch:
        yield from _of_the_reference(request)
    if learned is not None:
        yield Limit(images=max(1, learned), reason="reduced after an earlier attempt ran out of memory")


def _of_the_reference(request: RunRequest) -> Iterator[Limit]:
    """The per-process batch with the number of processes for which the batch was chosen."""
    batch, reference = (request.keys[f"SOLVER.{name}"] for name in ("IMS_PER_BATCH", REFERENCE))
    if reference > 0:
        yield Limit(images=_ceil(batch, reference), reason=f"configured for SOLVER.{REFERENCE}={reference}")
    elif count := count_of(request.device):
        yield Limit(images=_ceil(batch, count), reason=f"configured for device.count={count}")


def _adjust_micro_batch(per_process: int, accumulate: int, reason: str) -> Iterator[Adjustment]:
    if accumulate > 1:
        yield Adjustment(
            setting="micro-batch per process",
            asked=per_process,
            planned=_ceil(per_process, accumulate),
            reason=f"{reason}: gradients are accumulated over {accumulate} micro-batches per step",
        )


def _there_are(num_processes: int, kind: str) -> str:
    what = "GPU" if kind == "cuda" else "process"
    plural = "s" if kind == "cuda" else "es"
    return f"there is 1 {what}" if num_processes == 1 else f"there are {num_processes} {what}{plural}"


def _notices(request: RunRequest, num_processes: int) -> Iterator[str]:
    reference = request.keys[f"SOLVER.{REFERENCE}"]
    if request.scaling is Scaling.linear and reference == 0:
        yield (
            f"scaling=linear has no effect without SOLVER.{REFERENCE}, "
            "the number of processes that the configuration was made for"
        )
    if request.scaling is not Scaling.linear and reference not in (0, num_processes):
        yield (
            f"SOLVER.{REFERENCE}={reference}, and {_there_are(num_processes, '')}: batch, learning rate and schedule "
            f"stay as configured (scaling={request.scaling.value}); scaling=linear scales them with the number of "
            "processes"
        )


def scale_to(num_processes: int, keys: Keys) -> list[Adjustment]:
    """Keep the images per process of the reference: detectron2's `DefaultTrainer.auto_scale_workers`, but in the plan.

    Total batch and learning rate grow with the number of processes (the linear rule of arXiv:1706.02677), iteration
    counts shrink with it. Nothing changes where SOLVER.REFERENCE_WORLD_SIZE is 0 or that number.
    """
    reference = keys["SOLVER.REFERENCE_WORLD_SIZE"]
    if reference in (0, num_processes):
        return []
    scale = num_processes / reference
    planned: dict[str, Any] = {
        "SOLVER.IMS_PER_BATCH": round(keys["SOLVER.IMS_PER_BATCH"] * scale),
        "SOLVER.BASE_LR": keys["SOLVER.BASE_LR"] * scale,
        **{key: round(keys[key] / scale) for key in SCALED_INVERSELY},
        "SOLVER.STEPS": [round(step / scale) for step in keys["SOLVER.STEPS"]],
        "SOLVER.REFERENCE_WORLD_SIZE": num_processes,
    }
    reason = f"SOLVER.REFERENCE_WORLD_SIZE={reference}, and {_there_are(num_processes, '')}"
    return [
        Adjustment(setting=key, asked=keys[key], planned=value, reason=reason)
        for key, value in planned.items()
        if value != keys[key]
    ]


def _ceil(number: int, by: int) -> int:
    return -(-number // by)
