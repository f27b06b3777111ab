"""Inside a training on a GPU: notes where it computes, and lets it have less memory than there is.

It enters as a user's own code does: config_extensions=[tests.gpu.inside:install].
GPU_NOTES names the file for the notes; GPU_LIMIT_MIB is the most memory that a process may have of its GPU;
GPU_FAULT=assert makes a kernel stop on an impossible index in the second iteration.
"""

from __future__ import annotations

import json
import os
from typing import Any


def install(_: Any) -> None:
    if "GPU_NOTES" not in os.environ:
        return
    from launcher.train.steps import Steps

    run_step = Steps.run_step
    if run_step.__name__ == "noted":  # a configuration may be made more than once
        return

    def noted(self: Steps) -> None:
        if self.iter == self.start_iter:
            _limit_memory()
        if self.iter == 1 and os.environ.get("GPU_FAULT") == "assert":
            _stop_a_kernel()
        run_step(self)
        _note(self)

    Steps.run_step = noted  # type: ignore[method-assign]


def _limit_memory() -> None:
    import torch

    if limit_mib := int(os.environ.get("GPU_LIMIT_MIB", "0")):
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_mib * 2**20 / total))


def _stop_a_kernel() -> None:
    import torch

    torch.zeros(4, device="cuda")[torch.tensor([1_000_000], device="cuda")].sum().item()


def _note(steps: Any) -> None:
    import torch
    from detectron2.utils import comm

    parameter = next(iter(steps.model.parameters()))
    line = {
        "rank": comm.get_rank(),
        "iteration": steps.iter,
        "device": str(parameter.device),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "reserved_mib": torch.cuda.max_memory_reserved() >> 20,
        "checksum": sum(float(each.detach().double().abs().sum()) for each in steps.model.parameters()),
    }
    # In one write, so that the lines of several ranks stay whole.
    with open(os.environ["GPU_NOTES"], "a", buffering=1) as file:
        file.write(json.dumps(line) + "\n")
