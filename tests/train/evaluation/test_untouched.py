"""A model that is only looked at."""

from __future__ import annotations

import random

import numpy as np
import torch
from detectron2.utils.events import EventStorage, get_event_storage
from torch import nn

from launcher.train.evaluation.untouched import giving_losses


class Restless(nn.Module):
    """Changes with every forward pass in training, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.frozen = nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 3).eval()
        self.mean_of_losses = 4.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert self.training
        self.mean_of_losses += 1.0
        self.first_seen = float(images.sum())
        get_event_storage().put_scalar("seen", random.random() + np.random.rand())
        get_event_storage().put_image("drawn", np.zeros((3, 1, 1)))
        return self.drop(self.norm(images)).sum()


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_modes_buffers_numbers_randomness_and_scalars_stay_as_they_are():
    model = Restless()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)

    with EventStorage(7) as storage, giving_losses(model):
        first, second = model(torch.rand(5, 3)), model(torch.rand(5, 3))

    assert not first.requires_grad
    assert draws() == expected
    assert (model.training, model.norm.training, model.frozen.training) == (True, True, False)
    assert model.mean_of_losses == 4.0
    assert not hasattr(model, "first_seen")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (storage.latest(), storage._vis_data) == ({}, [])
    assert first != second


def test_running_statistics_and_no_dropout_give_the_same_loss_every_time():
    model, images = Restless().eval(), torch.rand(5, 3)

    with EventStorage(0), giving_losses(model):
        losses = {float(model(images)) for _ in range(3)}

    assert len(losses) == 1
    assert not model.training
