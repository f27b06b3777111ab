"""What a failed attempt teaches the next one, and whether there should be one. Decides only."""

from __future__ import annotations

from dataclasses import replace

from launcher.config.adjustment import look_up
from launcher.device.cuda_codes import Blame, blame_of
from launcher.run.heartbeat import SMOKE, TRAINING
from launcher.run.outcome import Cause, Outcome
from launcher.run.plan import Lessons, RunPlan

LONGEST_PAUSE_S = 30.0


def learn(plan: RunPlan, outcome: Outcome, *, resumes_from: int) -> Lessons | None:
    """What the next attempt should do otherwise, or None when there should be none.

    `resumes_from` is the iteration from which a next attempt would go on.
    """
    before = plan.lessons
    if resumes_from > plan.first_iteration:
        before = replace(before, in_vain=0)
    match outcome.cause:
        case Cause.device_memory if outcome.stage == TRAINING:  # nothing else becomes smaller with the passes
            return _smaller_passes(plan, before, "the GPU ran out of memory")
        case Cause.host_memory:
            return _less_host_memory(plan, before)
        case Cause.loader:
            return _fewer_workers(plan, before, "a data loader process was killed") or _once_more(plan, before)
        case Cause.device:
            return _other_device(plan, before, outcome)
        case Cause.crash | Cause.hang:
            return _away_from_driver(plan, before, outcome) or _once_more(plan, before)
    return None


def pause_before(lessons: Lessons) -> float:
    """Seconds to wait before the next attempt: a driver that resets, or a file system that comes back, takes time."""
    return 0.0 if lessons.in_vain == 0 else min(2.0 ** (lessons.in_vain - 1), LONGEST_PAUSE_S)


def _smaller_passes(plan: RunPlan, before: Lessons, why: str) -> Lessons | None:
    images = plan.images_per_pass
    if images <= 1:
        return None
    half = images // 2
    reason = f"{why} with {images} images per forward pass, so {half} and more passes"
    return replace(before, micro_batch=half, reason=reason)


def _less_host_memory(plan: RunPlan, before: Lessons) -> Lessons | None:
    why = "the machine ran out of memory"
    fewer = _fewer_workers(plan, before, why)
    # On the CPU the model's own activations are what fills the memory.
    smaller = _smaller_passes(plan, before, why) if plan.devices.kind == "cpu" else None
    if fewer and smaller:
        return replace(fewer, micro_batch=smaller.micro_batch, reason=f"{fewer.reason}; {smaller.reason}")
    return fewer or smaller


def _fewer_workers(plan: RunPlan, before: Lessons, why: str) -> Lessons | None:
    workers = look_up(plan.detectron2, "DATALOADER.NUM_WORKERS")
    if workers < 1:
        return None
    reason = f"{why} with DATALOADER.NUM_WORKERS={workers}, so {workers // 2}"
    return replace(before, num_workers=workers // 2, reason=reason)


def _other_device(plan: RunPlan, before: Lessons, outcome: Outcome) -> Lessons | None:
    code, blame = outcome.cuda_code, blame_of(outcome.cuda_code)
    if blame not in (Blame.gpu, Blame.unclear):
        return None
    uuids = plan.devices.gpu_uuids
    uuid = uuids[outcome.rank] if outcome.rank < len(uuids) else ""
    is_sick = blame is Blame.gpu or (code is not None and uuid in before.suspects)
    if uuid and is_sick:
        how = f"failed in attempt {plan.attempt} (CUDA error {code})"
        return replace(before, avoid_gpus={**before.avoid_gpus, uuid: how}, reason=f"a GPU {how}, so without it")
    again = _once_more(plan, before)
    # Without a code it may just as well have been the link to another rank.
    return replace(again, suspects=(*before.suspects, uuid)) if again and uuid and code is not None else again


def _away_from_driver(plan: RunPlan, before: Lessons, outcome: Outcome) -> Lessons | None:
    if plan.devices.kind != "cpu" or plan.devices.mask_driver or outcome.stage != SMOKE:
        return None
    return replace(before, mask_driver=True, reason="the NVIDIA driver disturbs even the CPU, so it is masked")


def _once_more(plan: RunPlan, before: Lessons) -> Lessons | None:
    if before.in_vain >= plan.retries:
        return None
    return replace(before, in_vain=before.in_vain + 1, reason=f"once more ({before.in_vain + 1} of {plan.retries})")
