"""One iteration: forward and backward over the micro-batches, a look at the losses, one optimizer step."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from torch.nn.parallel import DistributedDataParallel

Batch = Sequence[Mapping[str, Any]]
NAMED_IMAGES = 8


class DivergedError(FloatingPointError):
    """Losses or predictions are NaN or Inf. The message says when, which and on what images."""


class Steps(SimpleTrainer):
    """detectron2's SimpleTrainer and AMPTrainer in one, which can split a batch that does not fit into memory.

    A batch is split into `micro_batches` as equal as they can be. Their gradients add up, each weighted by its fraction
    of the images, to those of the mean over the batch, so learning rate and iteration counts keep their meaning. With
    one micro-batch the arithmetic is detectron2's.
    """

    def __init__(
        self,
        model: Any,
        loader: Iterable[Batch],
        optimizer: Any,
        *,
        micro_batches: int = 1,
        precision: str = "",
        device: str = "cuda",
        after_backward: Callable[[], None] = lambda: None,
    ) -> None:
        """`precision` is float16 or bfloat16 for automatic mixed precision on that `device`, or empty for none.

        `after_backward` is called when the gradients of the whole batch are there, before the optimizer's step.
        """
        super().__init__(model, loader, optimizer)
        self.micro_batches = micro_batches
        self._after_backward = after_backward
        self.precision = getattr(torch, precision) if precision else None
        self._device = device
        # bfloat16 has the range of float32, so its gradients need no scaling.
        self.grad_scaler = torch.amp.GradScaler("cuda", enabled=precision == "float16")
        self._scaler_state: dict[str, Any] = {}
        """Of an earlier attempt that ran in float16, kept for a later one while this one does not."""
        self._last_losses: dict[str, float] = {}

    def run_step(self) -> None:
        started = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - started
        self.optimizer.zero_grad()
        try:
            losses = self._forward_and_backward(batch)
        except FloatingPointError as error:  # detectron2 looks at the proposals
            raise DivergedError(self._diverged(str(error).rstrip("."), batch)) from error
        self._after_backward()
        # Before the ranks talk about their losses: the one whose images did it is the one to speak.
        if wrong := {name: value for name, value in losses.items() if not math.isfinite(value)}:
            what = f"{' and '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} NaN or Inf"
            raise DivergedError(self._diverged(f"{what} ({_listed(losses)})", batch))
        self._last_losses = losses
        self._write_metrics({name: torch.tensor(value) for name, value in losses.items()}, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _forward_and_backward(self, batch: Batch) -> dict[str, float]:
        """The losses, weighted over the micro-batches."""
        parts = split(batch, self.micro_batches)
        summed: dict[str, float] = {}
        for number, part in enumerate(parts, start=1):
            fraction = len(part) / len(batch)
            with self._no_sync() if number < len(parts) else contextlib.nullcontext():
                for name, value in self._run_micro_batch(part, fraction).items():
                    summed[name] = summed.get(name, 0.0) + value * fraction
        return summed

    def _run_micro_batch(self, part: Batch, fraction: float) -> dict[str, float]:
        with self._autocast():
            losses = self.model(part)
            if isinstance(losses, torch.Tensor):
                losses = {"total_loss": losses}
            total = sum(losses.values())
        self.grad_scaler.scale(total if fraction == 1 else total * fraction).backward()
        return to_floats(losses)

    def losses_of(self, batch: Batch) -> dict[str, float]:
        """The losses of a batch, of this process alone; no gradients."""
        # DistributedDataParallel would wait for the other ranks.
        model = self.model.module if isinstance(self.model, DistributedDataParallel) else self.model
        with torch.no_grad(), self._autocast():
            losses = model(batch)
            return to_floats(losses if isinstance(losses, Mapping) else {"total_loss": losses})

    def _no_sync(self) -> Any:
        """Ranks exchange gradients once per iteration, in its last backward pass."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else contextlib.nullcontext()

    def _autocast(self) -> Any:
        return (
            contextlib.nullcontext() if self.precision is None else torch.autocast(self._device, dtype=self.precision)
        )

    def _diverged(self, what: str, batch: Batch) -> str:
        names = [str(image.get("file_name", image.get("image_id", "?"))) for image in batch]
        more = f" and {len(names) - NAMED_IMAGES} more" if len(names) > NAMED_IMAGES else ""
        before = f"; the iteration before had {_listed(self._last_losses)}" if self._last_losses else ""
        return (
            f"iteration {self.iter} diverged: {what}{before}; the images were {', '.join(names[:NAMED_IMAGES])}{more}"
        )

    def state_dict(self) -> dict[str, Any]:
        """As AMPTrainer's, so that detectron2's own trainers can resume from it, and whose state is whose."""
        state = super().state_dict()
        state["parameters"] = self._parameter_names()
        if scaler := self.grad_scaler.state_dict() or self._scaler_state:
            state["grad_scaler"] = scaler
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (names := state_dict.get("parameters", [])) and names != self._parameter_names():
            state_dict = {**state_dict, "optimizer": self._regrouped(state_dict["optimizer"], names)}
        super().load_state_dict(state_dict)
        self._scaler_state = state_dict.get("grad_scaler") or {}
        if self._scaler_state and self.grad_scaler.is_enabled():
            self.grad_scaler.load_state_dict(self._scaler_state)

    def _parameter_names(self) -> list[str]:
        """In the order in which the optimizer counts them, its groups one after the other."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return [
            names[id(parameter)].removeprefix("module.")
            for group in self.optimizer.param_groups
            for parameter in group["params"]
        ]

    def _regrouped(self, stored: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """A stored state of the optimizer in today's groups, which follow from other settings."""
        by_name = {names[number]: state for number, state in stored["state"].items()}
        today = enumerate(self._parameter_names())
        state = {number: by_name[name] for number, name in today if name in by_name}
        return {"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]}


def _listed(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items())


def split(batch: Batch, parts: int) -> list[Batch]:
    """At most `parts` parts of a batch, none empty, whose lengths differ by one at most."""
    parts = min(parts, len(batch))
    ends = [len(batch) * number // parts for number in range(parts + 1)]
    return [batch[start:end] for start, end in itertools.pairwise(ends)]


def to_floats(losses: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """One copy from the device for all of them."""
    values = torch.stack([loss.detach().float().reshape(()) for loss in losses.values()]).tolist()
    return dict(zip(losses, values, strict=True))
