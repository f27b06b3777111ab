from __future__ import annotations

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.solver import build

from launcher.train.compat.gradient_clipping import make_clipper


@pytest.mark.parametrize(("kind", "expected"), [("value", [0.5, 0.5]), ("norm", [0.3, 0.4])])
def test_gradients_are_clipped_and_parameters_without_one_passed_over(
    kind: str, expected: list[float], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(build, "_create_gradient_clipper", make_clipper)
    cfg = get_cfg()
    cfg.SOLVER.CLIP_GRADIENTS.merge_from_list(["ENABLED", True, "CLIP_TYPE", kind, "CLIP_VALUE", 0.5])
    used, unused = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    optimizer = build.maybe_add_gradient_clipping(cfg, torch.optim.SGD)([used, unused], lr=1.0)
    used.grad = torch.tensor([3.0, 4.0])

    optimizer.step()

    torch.testing.assert_close(-used.detach(), torch.tensor(expected))
    assert not unused.detach().any()
