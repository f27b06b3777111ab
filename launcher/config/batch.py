"""How many processes can share a batch, and the nearest batches and counts that can. Arithmetic on settings only."""

from __future__ import annotations

from launcher.config.keys import Keys
from launcher.config.request import Scaling


def shared_batch(keys: Keys, scaling: Scaling) -> int | None:
    """The images that the processes share equally; None where any number of processes will do."""
    batch = keys.get("SOLVER.IMS_PER_BATCH", None)
    if not isinstance(batch, int) or batch < 1:
        return None
    # The linear rule gives each process the same number of images, however many processes there are.
    return None if scaling is Scaling.linear and reference_of(keys) > 0 else batch


def reference_of(keys: Keys) -> int:
    """The number of processes that the configuration was made for; 0 for none in particular."""
    reference = keys.get("SOLVER.REFERENCE_WORLD_SIZE", 0)
    return reference if isinstance(reference, int) else 0


def images_per_process(keys: Keys, batch: int | None, num_processes: int) -> int:
    """Of one batch, which is `shared_batch`; 0 where the settings do not say."""
    if batch is not None:
        return -(-batch // num_processes)
    total, reference = keys.get("SOLVER.IMS_PER_BATCH", 0), reference_of(keys)
    return total // reference if isinstance(total, int) and reference > 0 else 0


def why_not_shared(batch: int | None, num_processes: int) -> str:
    """Why this batch cannot be shared.

    detectron2 asserts that every process gets an equal part of the batch, and not an empty one.
    """
    if batch is None or batch % num_processes == 0:
        return ""
    return f"SOLVER.IMS_PER_BATCH={batch} cannot be shared equally by {num_processes} processes"


def sharing_problem(batch: int | None, num_processes: int, at_most: int | None = None, *, nodes: int = 1) -> str:
    """Why that many processes on each node cannot share this batch, with the nearest that can.

    `at_most` limits the counts proposed.
    """
    why = why_not_shared(batch, num_processes * nodes)
    if batch is None or not why:
        return ""
    counts = [count for count in _divisors_near(batch // nodes, num_processes) if at_most is None or count <= at_most]
    fewer = f", or device.count={' or '.join(map(str, counts))}" if counts and batch % nodes == 0 else ""
    return (
        f"{why}{f' on {nodes} nodes' if nodes > 1 else ''}. "
        f"Set SOLVER.IMS_PER_BATCH={multiples_near(batch, num_processes * nodes)}{fewer}."
    )


def most_sharers(batch: int | None, at_most: int, *, nodes: int = 1) -> int:
    """The largest number of processes on each node that can share the batch equally; 1 where none can."""
    return next((count for count in range(at_most, 1, -1) if batch is None or batch % (count * nodes) == 0), 1)


def multiples_near(batch: int, number: int) -> str:
    """The batches next to this one that `number` processes can share."""
    below, above = max(batch - batch % number, number), batch + number - batch % number
    return " or ".join(map(str, sorted({below, above})))


def _divisors_near(batch: int, count: int) -> list[int]:
    divisors = [number for number in range(1, batch + 1) if batch % number == 0]
    below = [number for number in divisors if number < count][-1:]
    return below + [number for number in divisors if number > count][:1]
