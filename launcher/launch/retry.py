"""What a failed attempt teaches the next one, and whether there should be one. Decides only."""

from __future__ import annotations

from dataclasses import replace

from launcher.device.cuda_codes import Blame, blame_of
from launcher.run import codes
from launcher.run.heartbeat import EVALUATION, PREDICTION, SMOKE, TRAINING
from launcher.run.outcome import Fault, Outcome
from launcher.run.plan import Evaluate, Lessons, Predict, RunPlan, Train

LONGEST_PAUSE_S = 30.0
STAGES = {Train: TRAINING, Evaluate: EVALUATION, Predict: PREDICTION}
"""In which the model gets as many images at once as the plan says."""
LIMITS = {
    codes.PROCESSES: "processes or threads",
    codes.OPEN_FILES: "open files",
    codes.SHARED_MEMORY: "shared memory",
}
DRIVER_HIDDEN = "the NVIDIA driver hung or crashed a CPU run; retrying with the driver library hidden"


def learn(plan: RunPlan, outcome: Outcome, *, resumes_from: int) -> Lessons | None:
    """What the next attempt should do otherwise, or None when there should be none.

    `resumes_from` is the iteration from which a next attempt would resume.
    """
    before = plan.lessons
    if resumes_from > plan.first_iteration:
        before = replace(before, in_vain=0)
    if outcome.fault is None:
        return None
    match outcome.code:
        case codes.OUT_OF_MEMORY if outcome.fault.stage == STAGES[type(plan.task)]:  # nothing else shrinks with it
            return _smaller_micro_batch(plan, before, "the GPU ran out of memory")
        case codes.HOST_MEMORY:
            return _less_host_memory(plan, before)
        case codes.LOADER_KILLED:
            return _fewer_workers(plan, before, "a DataLoader worker was killed") or _retry(plan, before)
        case (
            codes.PROCESSES | codes.OPEN_FILES | codes.SHARED_MEMORY as code
        ):  # what each DataLoader worker takes part of
            return _fewer_workers(plan, before, f"{LIMITS[code]} ran out")
        case codes.CRASH | codes.KILLED | codes.HANG | codes.CHECKPOINT_GONE:
            return _hide_driver(plan, before, outcome.fault) or _retry(plan, before)
        case code if code in codes.DEVICE:
            return _other_device(plan, before, outcome.fault)
    return None


def pause_before(lessons: Lessons) -> float:
    """Seconds to wait before the next attempt: a driver that resets, or a file system that comes back, takes time."""
    return 0.0 if lessons.in_vain == 0 else min(2.0 ** (lessons.in_vain - 1), LONGEST_PAUSE_S)


def _smaller_micro_batch(plan: RunPlan, before: Lessons, why: str) -> Lessons | None:
    images = plan.micro_batch
    if images <= 1:
        return None
    half = images // 2
    reason = f"{why} with a micro-batch of {images}; retrying with {half}"
    if isinstance(plan.task, Train):
        reason += " and the same effective batch"
    return replace(before, micro_batch=half, reason=reason)


def _less_host_memory(plan: RunPlan, before: Lessons) -> Lessons | None:
    why = "the machine ran out of memory"
    fewer = _fewer_workers(plan, before, why)
    # On the CPU the model's own activations are what fills the memory.
    smaller = _smaller_micro_batch(plan, before, why) if plan.devices.kind == "cpu" else None
    if fewer and smaller:
        return replace(fewer, micro_batch=smaller.micro_batch, reason=f"{fewer.reason}; {smaller.reason}")
    return fewer or smaller


def _fewer_workers(plan: RunPlan, before: Lessons, why: str) -> Lessons | None:
    workers = plan.keys["DATALOADER.NUM_WORKERS"]
    if workers < 1:
        return None
    reason = f"{why} with DATALOADER.NUM_WORKERS={workers}; retrying with {workers // 2}"
    return replace(before, num_workers=workers // 2, reason=reason)


def _other_device(plan: RunPlan, before: Lessons, fault: Fault) -> Lessons | None:
    code, blame = fault.cuda_code, blame_of(fault.cuda_code)
    if blame not in (Blame.gpu, Blame.unclear):
        return None
    uuids = plan.devices.gpu_uuids
    uuid = uuids[fault.rank] if fault.rank < len(uuids) else ""
    is_sick = blame is Blame.gpu or (code is not None and uuid in before.suspects)
    if uuid and is_sick:
        how = f"failed in attempt {plan.attempt} (CUDA error {code})"
        return replace(before, avoid_gpus={**before.avoid_gpus, uuid: how}, reason=f"a GPU {how}; retrying without it")
    again = _retry(plan, before)
    # Without a code it may just as well have been the link to another rank.
    return replace(again, suspects=(*before.suspects, uuid)) if again and uuid and code is not None else again


def _hide_driver(plan: RunPlan, before: Lessons, fault: Fault) -> Lessons | None:
    if plan.devices.kind != "cpu" or plan.devices.hide_driver or fault.stage != SMOKE:
        return None
    return replace(before, hide_driver=True, reason=DRIVER_HIDDEN)


def _retry(plan: RunPlan, before: Lessons) -> Lessons | None:
    if before.in_vain >= plan.limits.retries:
        return None
    number = before.in_vain + 1
    return replace(before, in_vain=number, reason=f"retry {number} of {plan.limits.retries}")
