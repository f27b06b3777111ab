"""Whether mixed precision that is asked for runs in bfloat16 on the CPU. Decides only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.config.adjustment import Adjustment
from launcher.config.keys import Keys
from launcher.config.request import Precision
from launcher.device.bfloat16 import Bfloat16Facts, LayerKind

WORTH_IT = 1.2
"""Times as fast as float32 that the layers must be: converting between the two costs the rest of an iteration."""
WRONG = 0.02
"""A difference that rounding to eight bits does not explain; it makes one of 0.002, whatever the layer."""
SHARE_TO_NAME = 0.05
"""Of the time of all layers, from which a slow kind is worth being named."""


@dataclass(frozen=True, kw_only=True)
class CpuPrecision:
    """What becomes of mixed precision on the CPU."""

    planned: str
    """bfloat16, or empty for float32 throughout."""
    adjustments: tuple[Adjustment, ...] = ()
    notices: tuple[str, ...] = ()


def asks_for_amp(keys: Keys) -> bool:
    return bool(keys.get("SOLVER.AMP.ENABLED", False))


def needs_measuring(keys: Keys, asked: Precision, *, begun_in: str | None) -> bool:
    """Whether the decision for a run on the CPU depends on what bfloat16 does there."""
    return asks_for_amp(keys) and not _keeps(asked, begun_in)


def precision_on_cpu(keys: Keys, asked: Precision, seen: Bfloat16Facts | None, *, begun_in: str | None) -> CpuPrecision:
    """`begun_in` is the type of an earlier attempt on the CPU, which a run keeps; empty for float32, None for none."""
    if not asks_for_amp(keys):
        return CpuPrecision(planned="")
    if _keeps(asked, begun_in):
        return _in_bfloat16(asked, "in which this run began") if begun_in else _off("this run began in float32")
    if seen is None or seen.problem or not seen.layers:
        why = seen.problem if seen and seen.problem else "nothing was measured"
        return _off(f"bfloat16 could not be tried on this CPU: {why}")
    if wrong := [layer for layer in seen.layers if layer.difference > WRONG]:
        return _off(_why_wrong(wrong))
    if _speedup(seen.layers) >= WORTH_IT:
        return _in_bfloat16(asked, f"measured {_speedup(seen.layers):.1f} times as fast here in this model's layers")
    if asked is Precision.bfloat16:
        return _in_bfloat16(asked, f"as device.precision=bfloat16 asks, although {_why_slow(seen.layers)}")
    return _off(_why_slow(seen.layers))


def without_training(keys: Keys) -> CpuPrecision:
    """For an evaluation or prediction: in float32, as the evaluations of a training on the CPU are."""
    return _off("on the CPU only training runs in mixed precision") if asks_for_amp(keys) else CpuPrecision(planned="")


def _keeps(asked: Precision, begun_in: str | None) -> bool:
    """Whether the run has a type that it keeps; who asks for bfloat16 by name gets it in a run that began without."""
    return begun_in is not None and (bool(begun_in) or asked is not Precision.bfloat16)


def _off(reason: str) -> CpuPrecision:
    return CpuPrecision(
        planned="",
        adjustments=(Adjustment(setting="SOLVER.AMP.ENABLED", asked=True, planned=False, reason=reason),),
    )


def _in_bfloat16(asked: Precision, why: str) -> CpuPrecision:
    instead = Adjustment(
        setting="device.precision", asked=asked.value, planned="bfloat16", reason="float16 requires CUDA"
    )
    return CpuPrecision(
        planned="bfloat16",
        adjustments=(instead,) if asked is Precision.float16 else (),
        notices=(f"mixed precision runs in bfloat16 on the CPU, {why}",),
    )


def _why_wrong(wrong: Sequence[LayerKind]) -> str:
    worst = max(wrong, key=lambda layer: layer.difference)
    return f"bfloat16 is wrong on this CPU for {worst.name}: results differ by {100 * worst.difference:.0f} %"


def _why_slow(layers: Sequence[LayerKind]) -> str:
    total = f"bfloat16 is {_speedup(layers):.1f} times as fast as float32 on this CPU"
    whole = sum(layer.bfloat16_s for layer in layers)
    slow = [one for one in layers if one.bfloat16_s > one.float32_s and one.bfloat16_s > SHARE_TO_NAME * whole]
    if not slow or len(layers) == 1:
        return total
    worst = max(slow, key=lambda layer: layer.bfloat16_s - layer.float32_s)
    return f"{total}, {_speedup([worst]):.1f} times for {worst.name}"


def _speedup(layers: Sequence[LayerKind]) -> float:
    return sum(layer.float32_s for layer in layers) / max(1e-9, sum(layer.bfloat16_s for layer in layers))
