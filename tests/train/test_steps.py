from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils.events import EventStorage
from hypothesis import given
from hypothesis import strategies as st

from launcher.train.steps import DivergedError, Steps, split


class Regression(torch.nn.Module):
    """Two losses of a linear model, each a mean over the images, as detection losses are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 2)
        self.sizes: list[int] = []

    def forward(self, batch: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        self.sizes.append(len(batch))
        out = self.layer(torch.stack([image["x"] for image in batch]))
        return {"loss_a": out[:, 0].square().mean(), "loss_b": (out[:, 1] - 1).square().mean()}


def batches(count: int, size: int) -> list[list[dict[str, Any]]]:
    generator = torch.Generator().manual_seed(1)
    return [
        [{"x": torch.randn(3, generator=generator), "file_name": f"{batch}-{image}.jpg"} for image in range(size)]
        for batch in range(count)
    ]


def trained(kind: type[SimpleTrainer], data: Any, **options: Any) -> tuple[Regression, dict[str, float]]:
    model = Regression()
    trainer = kind(model, data, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), **options)
    with EventStorage() as storage:
        for trainer.iter in range(len(data)):
            trainer.run_step()
            storage.step()
        return model, {name: value for name, (value, _) in storage.latest().items() if "loss" in name}


def test_in_one_micro_batch_it_is_detectron2s_own_step_bit_for_bit():
    theirs, their_losses = trained(SimpleTrainer, batches(5, 4))
    ours, our_losses = trained(Steps, batches(5, 4))

    assert torch.equal(ours.layer.weight, theirs.layer.weight)
    assert our_losses == pytest.approx(their_losses)


@pytest.mark.parametrize("parts", [2, 3, 4, 9])
def test_in_several_micro_batches_gradients_and_losses_are_those_of_the_whole_batch(parts: int):
    whole, whole_losses = trained(Steps, batches(5, 4))
    split_up, losses = trained(Steps, batches(5, 4), micro_batches=parts)

    assert torch.allclose(split_up.layer.weight, whole.layer.weight, atol=1e-6)
    assert losses == pytest.approx(whole_losses, rel=1e-5)
    assert max(split_up.sizes) == math.ceil(4 / parts)


@given(size=st.integers(1, 40), parts=st.integers(1, 50))
def test_a_batch_is_split_into_nearly_equal_parts_in_its_order(size: int, parts: int):
    batch = [{"n": number} for number in range(size)]

    pieces = split(batch, parts)

    assert [image for piece in pieces for image in piece] == batch
    assert len(pieces) == min(parts, size)
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_a_loss_that_is_nan_names_iteration_terms_and_images_and_leaves_the_weights():
    data = batches(3, 2)
    data[2][1]["x"] = torch.tensor([math.nan, 0.0, 0.0])
    model = Regression()
    trainer = Steps(model, data, torch.optim.SGD(model.parameters(), lr=0.1))

    names_all = r"(?s)iteration 2 .*loss_a and loss_b are NaN or Inf.*2-0\.jpg, 2-1\.jpg"
    with EventStorage():
        for trainer.iter in range(2):
            trainer.run_step()
        trainer.iter = 2
        with pytest.raises(DivergedError, match=names_all):
            trainer.run_step()

    assert bool(torch.isfinite(model.layer.weight).all())


def test_what_detectron2_finds_diverged_names_the_images_too():
    class Proposals(Regression):
        def forward(self, batch: Any) -> Any:
            raise FloatingPointError("Predicted boxes or scores contain Inf/NaN. Training has diverged.")

    model = Proposals()
    trainer = Steps(model, batches(1, 2), torch.optim.SGD(model.parameters(), lr=0.1))
    trainer.iter = 0

    with EventStorage(), pytest.raises(DivergedError, match=r"Predicted boxes.*0-0\.jpg"):
        trainer.run_step()


def test_a_run_that_changes_between_gpu_and_cpu_keeps_the_state_of_its_gradient_scaler():
    model = Regression()
    steps = Steps(model, [], torch.optim.SGD(model.parameters(), lr=0.1))
    steps.iter = 0
    without = steps.state_dict()
    scaler = {"scale": 1024.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 9, "_growth_tracker": 1}

    steps.load_state_dict({**without, "grad_scaler": scaler})

    assert "grad_scaler" not in without
    assert steps.state_dict()["grad_scaler"] == scaler


def test_the_optimizers_state_goes_to_its_parameters_also_in_other_groups():
    data = batches(3, 2)
    model = Regression()
    together = Steps(model, data, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    with EventStorage():
        for together.iter in range(3):
            together.run_step()
    momentum = {name: together.optimizer.state[p]["momentum_buffer"] for name, p in model.named_parameters()}
    other = Regression()
    groups = [{"params": [other.layer.bias], "lr": 0.2}, {"params": [other.layer.weight]}]
    apart = Steps(other, data, torch.optim.SGD(groups, lr=0.1, momentum=0.9))
    apart.iter = 0

    apart.load_state_dict(together.state_dict())

    found = {name: apart.optimizer.state[p]["momentum_buffer"] for name, p in other.named_parameters()}
    assert found.keys() == momentum.keys()
    assert all(torch.equal(found[name], momentum[name]) for name in found)
    assert [group["lr"] for group in apart.optimizer.param_groups] == [0.2, 0.1]
