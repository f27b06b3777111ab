"""What a command does with a model, as it was typed: train, evaluate or predict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """A training: all that it asks for are settings."""


TRAIN = TrainRequest()


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """An evaluation of a model that is there, on DATASETS.TEST."""

    run: str
    """The run folder whose model it is, absolute; empty where `model=` and MODEL.WEIGHTS name one."""
    checkpoint: str
    """Which of the run's weights: `best`, `last`, `final` or a path; empty for the newest of them."""
    out: str
    """The folder for results, absolute; empty for one below the run's."""


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Predictions on image files."""

    run: str
    checkpoint: str
    out: str
    inputs: tuple[str, ...]
    """Files, folders and patterns, absolute."""
    threshold: float
    """Score from which on objects are counted and drawn."""
    draw: bool
    """Whether images with what was found are written."""
    images_json: str
    """A COCO-format file that gives image ids by file name; empty for none."""


InferenceRequest = EvaluateRequest | PredictRequest
TaskRequest = TrainRequest | EvaluateRequest | PredictRequest
