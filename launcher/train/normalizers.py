"""What dense detectors divide their losses by: a running mean that no buffer holds, so that a checkpoint lacks it."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.utils import comm
from torch.nn import Module


class LossNormalizers:
    """The normalizers of all ranks: each has its own, which follows from its own images."""

    def __init__(self, model: Module, *, rank: int, num_processes: int) -> None:
        self._rank = rank
        self._num_processes = num_processes
        self._detectors = {name: module for name, module in model.named_modules() if isinstance(module, DenseDetector)}
        self._of_ranks: list[dict[str, float]] = []

    def note(self) -> None:
        """Ask every rank for its own; every rank must call this at the same point."""
        if self._detectors:
            own = {
                name: float(module.loss_normalizer)
                for name, module in self._detectors.items()
                if hasattr(module, "loss_normalizer")
            }
            self._of_ranks = comm.all_gather(own)

    def state(self) -> list[dict[str, float]]:
        """In plain values, by rank and by module."""
        return self._of_ranks

    def put_back(self, of_ranks: Sequence[dict[str, float]]) -> None:
        """Each rank its own where there are as many as before, otherwise all of them the mean."""
        self._of_ranks = list(of_ranks)
        for name, module in self._detectors.items():
            values = [of_rank[name] for of_rank in of_ranks if name in of_rank]
            if len(values) == self._num_processes:
                module.loss_normalizer = values[self._rank]
            elif values:
                module.loss_normalizer = sum(values) / len(values)
