"""A model that is only used: built, given its weights, and refused where some of it would stay random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from torch.nn import Module

from launcher.errors import RequestError
from launcher.train.average import averaged_model
from launcher.train.checkpoints.checkpoint import SafeCheckpointer
from launcher.train.checkpoints.fit import Fit, advice
from launcher.train.trainer import Trainer

SHOWN = 3


def build_for_inference(trainer_class: type[Trainer], cfg: CfgNode, *, averaged: bool) -> Module:
    """The model on its device with the weights of MODEL.WEIGHTS, in evaluation mode.

    Where they are a run's checkpoint with averaged weights, those are taken if `averaged` says so.

    Raises:
        RequestError: the weights are another model's, as far as not every tensor of the model is among them.
    """
    model = trainer_class.build_model(cfg)
    if cfg.MODEL.WEIGHTS:
        InferenceCheckpointer(model, averaged=averaged).load(cfg.MODEL.WEIGHTS)
    return model.eval()


class InferenceCheckpointer(SafeCheckpointer):
    """Loads a model whole or not at all."""

    def __init__(self, model: Module, *, averaged: bool) -> None:
        super().__init__(model, save_to_disk=False)
        self._averaged = averaged

    def _load_file(self, filename: str) -> dict[str, Any]:
        loaded = super()._load_file(filename)
        return (averaged_model(loaded) or loaded) if self._averaged else loaded

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        check_complete(self._fit(incompatible))


def check_complete(fit: Fit) -> None:
    """Refuse weights that leave a part of the model as it was drawn at random.

    Raises:
        RequestError: it says how many tensors fit.
    """
    lacking = sorted(fit.only_in_model | fit.misshapen)
    if not lacking:
        return
    shapes = f", {len(fit.misshapen)} of them of another shape" if fit.misshapen else ""
    shown = ", ".join(lacking[:SHOWN]) + (f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else "")
    raise RequestError(
        f"{Path(fit.file).name} holds another model: {fit}. {len(lacking)} tensors of the model would stay random"
        f"{shapes}: {shown}.\n{_what_next(fit)}"
    )


def _what_next(fit: Fit) -> str:
    # What training advises where a prefix is all that differs helps here too.
    said = advice(fit)
    if said.startswith("Names in"):
        return said
    return (
        "Name weights of this very model: MODEL.WEIGHTS=PATH, or checkpoint=PATH for a run; or the model that they "
        "are of: model=NAME."
    )
