from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.config.request import CheckpointSettings
from launcher.run.manifest import Milestone
from launcher.run.paths import RunPaths
from launcher.train.average import AveragedWeights, averaged_model, decay_after
from launcher.train.checkpoints.checkpoint import SafeCheckpointer
from launcher.train.checkpoints.saver import Saver
from launcher.train.hooks.average import KeepAverage


class Model(torch.nn.Module):
    """A layer with two names, and a norm with statistics."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.again = self.layer


def stepped(model: torch.nn.Module, seed: int) -> None:
    """Change every parameter, as an optimizer would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def average_of(model: torch.nn.Module, steps: range, decay: float = 0.9) -> AveragedWeights:
    average = AveragedWeights(model, decay)
    average.start()
    for seed in steps:
        stepped(model, seed)
        average.update()
    return average


def bits(weights: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("updates", "decay", "kept"), [(0, 0.9999, 0.1), (8, 0.9999, 0.5), (8, 0.3, 0.3), (10**6, 0.9999, 0.9999)]
)
def test_the_average_forgets_quickly_at_first_and_with_the_asked_decay_later(updates: int, decay: float, kept: float):
    assert decay_after(updates, decay) == pytest.approx(kept)


def test_each_update_moves_the_average_towards_the_weights_by_what_the_decay_leaves():
    model = Model()
    expected = model.layer.weight.detach().double()
    average = AveragedWeights(model, 0.25)
    average.start()

    for number, kept in enumerate((0.1, 2 / 11, 0.25, 0.25)):  # (1 + n) / (10 + n) until the decay is reached
        stepped(model, number)
        average.update()
        expected = kept * expected + (1 - kept) * model.layer.weight.detach().double()

    assert torch.allclose(average.state_dict()["weights"]["layer.weight"].double(), expected, atol=1e-6)
    assert average.updates == 4


def test_weights_that_do_not_change_stay_as_they_are_to_the_last_bit():
    model = Model()
    average = AveragedWeights(model, 0.9)
    average.start()
    before = bits(average.state_dict()["weights"])

    for _ in range(50):
        average.update()

    assert bits(average.state_dict()["weights"]) == before


def test_a_model_in_half_precision_is_averaged_in_float32():
    model = torch.nn.Linear(4, 4).to(torch.bfloat16)
    average = average_of(model, range(3))

    with average.swapped_in():
        assert model.weight.dtype is torch.bfloat16

    assert average.state_dict()["weights"]["weight"].dtype is torch.float32


def test_the_model_has_the_average_for_weights_meanwhile_and_with_the_very_same_weights_afterwards():
    model = Model()
    average = average_of(model, range(3))
    averaged = average.state_dict()["weights"]["layer.weight"].clone()
    trained = model.layer.weight.data
    before = bits(model.state_dict())

    with average.swapped_in():
        assert torch.equal(model.layer.weight, averaged)
        assert torch.equal(model.again.weight, averaged)

    assert bits(model.state_dict()) == before
    assert model.layer.weight.data_ptr() == trained.data_ptr()
    assert torch.equal(average.state_dict()["weights"]["layer.weight"], averaged)


def test_an_evaluation_that_is_interrupted_leaves_the_trained_weights_too():
    model = Model()
    average = average_of(model, range(3))
    before = bits(model.state_dict())

    def evaluate() -> None:
        with average.swapped_in():
            assert bits(model.state_dict()) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate()

    assert bits(model.state_dict()) == before


def test_an_average_that_went_through_a_file_continues_bit_for_bit(tmp_path: Path):
    whole = average_of(Model(), range(6))
    model = Model()
    first = average_of(model, range(3))
    torch.save(first.state_dict(), tmp_path / "state.pth")

    continued = AveragedWeights(model, 0.9)
    continued.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
    hook = KeepAverage(continued)
    hook.before_train()
    for seed in range(3, 6):
        stepped(model, seed)
        hook.after_step()

    assert continued.updates == 6
    assert bits(continued.state_dict()["weights"]) == bits(whole.state_dict()["weights"])


def test_without_a_state_the_average_begins_with_the_weights_that_were_loaded():
    model = Model()
    average = AveragedWeights(model, 0.9)
    stepped(model, 0)  # as MODEL.WEIGHTS does, after the trainer was made

    KeepAverage(average).before_train()

    assert torch.equal(average.state_dict()["weights"]["layer.weight"], model.layer.weight)


def test_a_checkpoint_without_an_average_gives_no_averaged_model():
    assert averaged_model({"model": {}}) is None


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[tuple[RunPaths, Model, AveragedWeights, Saver]]:
    paths = RunPaths(tmp_path)
    paths.checkpoints.mkdir()
    model = Model()
    average = average_of(model, range(3))
    model.norm.running_mean.fill_(7.0)
    checkpointer = SafeCheckpointer(model, str(paths.checkpoints), ema=average)
    saver = Saver(checkpointer, paths, CheckpointSettings(keep_best="bbox/AP", async_=True))
    yield paths, model, average, saver
    saver.close()


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def test_the_last_checkpoint_holds_both_and_the_average_is_a_model_of_its_own(saved: Any):
    paths, model, average, saver = saved

    saver.save(Milestone(iteration=2), is_last=True)

    checkpoint, final = load(paths.final_weights), load(paths.final_average)
    averaged = average.state_dict()["weights"]
    assert torch.equal(checkpoint["model"]["layer.weight"], model.layer.weight)
    assert torch.equal(checkpoint["ema"]["weights"]["layer.weight"], averaged["layer.weight"])
    assert list(final) == ["model"]
    assert final["model"].keys() == model.state_dict().keys()
    for name in ("layer.weight", "again.weight"):
        assert torch.equal(final["model"][name], averaged["layer.weight"])
    assert torch.equal(final["model"]["norm.running_mean"], model.norm.running_mean)
    assert (paths.checkpoints / "last_checkpoint").read_text() == paths.checkpoint(2).name  # what tools go on from


def test_the_best_checkpoint_has_its_average_beside_it_also_when_saved_in_the_background(saved: Any):
    paths, model, average, saver = saved
    best = average.state_dict()["weights"]["layer.weight"].clone()

    saver.save(Milestone(iteration=2), metrics={"bbox/AP": 40.0})
    stepped(model, 9)
    average.update()
    saver.save(Milestone(iteration=3), metrics={"bbox/AP": 30.0})
    saver.finish()

    assert torch.equal(load(paths.best_average)["model"]["layer.weight"], best)
    assert not paths.final_average.exists()


def test_an_average_that_cannot_be_written_leaves_the_last_checkpoint_without_its_final_name(
    saved: Any, monkeypatch: pytest.MonkeyPatch
):
    from launcher.errors import TrainingFailedError
    from launcher.train.checkpoints import saver as saving

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    paths, _, _, saver = saved
    monkeypatch.setattr(saving, "write_weights", full)

    with pytest.raises(TrainingFailedError, match="No space left"):
        saver.save(Milestone(iteration=2), is_last=True)

    assert paths.checkpoint(2).exists()
    assert not paths.final_weights.exists()  # so that the next attempt makes up for it
