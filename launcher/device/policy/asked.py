"""Reading what was asked of the devices: the choice, the count, the batch to share, and what cannot be meant."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from launcher.config.keys import Keys
from launcher.config.request import DeviceChoice, DeviceRequest, Scaling


def choice_of(asked: DeviceRequest, keys: Keys) -> DeviceChoice:
    """`auto` gives way to a MODEL.DEVICE that is not detectron2's default."""
    device = keys.get("MODEL.DEVICE", "cuda")
    if asked.choice is DeviceChoice.auto and device in ("cpu", "mps"):
        return DeviceChoice(device)
    return asked.choice


def count_of(asked: DeviceRequest) -> int | None:
    """The number asked for; None for `all` and for what is no number."""
    text = str(asked.count)
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def listed(ids: Sequence[Any]) -> str:
    """As people type a list."""
    return "[" + ",".join(map(str, ids)) + "]"


def named_twice(asked: DeviceRequest) -> str:
    return f"device.ids={listed(asked.ids)} names a GPU twice. Name each GPU once."


def problems_with(asked: DeviceRequest, keys: Keys, scaling: Scaling) -> Iterator[str]:
    """What a request cannot mean on any machine."""
    if asked.count != "all" and count_of(asked) is None:
        yield f"device.count={asked.count}: neither a whole number from 1 nor `all`. Type for example device.count=1."
    yield from _problems_with_ids(asked)
    if asked.choice is DeviceChoice.cuda and keys.get("MODEL.DEVICE", "cuda") in ("cpu", "mps"):
        yield (
            f"device.choice=cuda contradicts MODEL.DEVICE={keys.get('MODEL.DEVICE', '')}. "
            "Leave one of them out; device=cpu is the way to ask for the CPU."
        )
    # The comparisons are written so that they fail for `nan` too.
    if not 0 <= asked.min_free_gib < math.inf:
        yield f"device.min_free_gib={asked.min_free_gib}: no amount of memory. Type for example device.min_free_gib=8."
    if not 0 <= asked.max_used <= 1:
        yield f"device.max_used={asked.max_used}: no share from 0 to 1. Type for example device.max_used=0.1."
    if not 0 < asked.patience_s < math.inf:
        yield f"device.patience_s={asked.patience_s}: no time to wait. Type seconds, for example device.patience_s=45."
    if asked.micro_batch < 0:
        yield f"device.micro_batch={asked.micro_batch}, but it counts images: 1 or more, or 0 to leave it open."
    yield from _problems_with_batch(asked, keys, scaling)


def _problems_with_ids(asked: DeviceRequest) -> Iterator[str]:
    for entry in asked.ids:
        if not isinstance(entry, (int, str)) or isinstance(entry, bool) or entry == "":
            yield f"device.ids: {entry!r} is neither an index nor a UUID. Type for example device.ids=[0,1]."
    if len(set(map(str, asked.ids))) < len(asked.ids):
        yield named_twice(asked)
    if asked.choice is DeviceChoice.cpu and asked.ids:
        yield f"device.ids={listed(asked.ids)} names GPUs, but device.choice=cpu. Leave one of them out."


# The batch


def shared_batch(keys: Keys, scaling: Scaling) -> int | None:
    """The images that the processes share equally; None where any number of processes will do."""
    batch = keys.get("SOLVER.IMS_PER_BATCH", None)
    if not isinstance(batch, int) or batch < 1:
        return None
    # The linear rule gives each process the same number of images, however many processes there are.
    return None if scaling is Scaling.linear and _reference(keys) > 0 else batch


def why_not_shared(batch: int | None, num_processes: int) -> str:
    """Why this batch cannot be shared.

    detectron2 asserts that every process gets an equal share of the batch, and not an empty one.
    """
    if batch is None or batch % num_processes == 0:
        return ""
    return f"SOLVER.IMS_PER_BATCH={batch} cannot be shared equally by {num_processes} processes"


def sharing_problem(batch: int | None, num_processes: int, at_most: int | None = None) -> str:
    """Why this batch cannot be shared, with the nearest that can; `at_most` limits the counts proposed."""
    why = why_not_shared(batch, num_processes)
    if batch is None or not why:
        return ""
    counts = [count for count in _divisors_near(batch, num_processes) if at_most is None or count <= at_most]
    return (
        f"{why}. "
        f"Type SOLVER.IMS_PER_BATCH={_multiples_near(batch, num_processes)}, "
        f"or device.count={' or '.join(map(str, counts))}."
    )


def most_sharers(batch: int | None, at_most: int) -> int:
    """The largest number of processes that can share the batch equally."""
    return next(count for count in range(at_most, 0, -1) if batch is None or batch % count == 0)


def _problems_with_batch(asked: DeviceRequest, keys: Keys, scaling: Scaling) -> Iterator[str]:
    count = count_of(asked)
    if count is not None and (problem := sharing_problem(shared_batch(keys, scaling), count)):
        yield f"device.count={count}: {problem}"
    reference = _reference(keys)
    if reference < 0:
        yield f"SOLVER.REFERENCE_WORLD_SIZE={reference}: neither a number of processes nor 0 for none in particular."
    batch = shared_batch(keys, Scaling.none)
    if scaling is Scaling.linear and reference > 0 and batch is not None and batch % reference:
        yield (
            f"scaling=linear: SOLVER.IMS_PER_BATCH={batch} cannot be shared equally by the processes that it was made "
            f"for, SOLVER.REFERENCE_WORLD_SIZE={reference}. "
            f"Type SOLVER.IMS_PER_BATCH={_multiples_near(batch, reference)}, or leave scaling=linear out."
        )


def _reference(keys: Keys) -> int:
    reference = keys.get("SOLVER.REFERENCE_WORLD_SIZE", 0)
    return reference if isinstance(reference, int) else 0


def _multiples_near(batch: int, number: int) -> str:
    below, above = max(batch - batch % number, number), batch + number - batch % number
    return " or ".join(map(str, sorted({below, above})))


def _divisors_near(batch: int, count: int) -> list[int]:
    divisors = [number for number in range(1, batch + 1) if batch % number == 0]
    below = [number for number in divisors if number < count][-1:]
    return below + [number for number in divisors if number > count][:1]
