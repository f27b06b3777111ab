"""What came of an evaluation, as it is written beside its results and read by people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VERSION = 1
"""Of the format of summary.json; counts up when a reader would have to change (docs/results.md)."""


@dataclass(frozen=True, kw_only=True)
class BestF1:
    """Where precision and recall, at an IoU of 0.5, are best in balance."""

    score: float
    """The score threshold: detections of at least this score are kept."""
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """How one class does in one task."""

    name: str
    objects: int | None
    """That count, crowds do not; None where that is not known."""
    metrics: Mapping[str, float | None]
    """AP and AP50 in percent, or what else the evaluator gives for classes; None where there is no object of it."""
    best_f1: BestF1 | None
    """None where none was found."""


@dataclass(frozen=True, kw_only=True)
class TaskSummary:
    """How the model does in one task, such as `bbox`."""

    metrics: Mapping[str, float | None]
    """Over all classes, as the evaluator gave them: AP, AP50 and the like; None for NaN."""
    classes: tuple[ClassScores, ...]
    best_f1: BestF1 | None
    """Of all classes together, with one threshold."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was evaluated."""

    images: int
    objects: int
    crowds: int
    detections: int


@dataclass(frozen=True, kw_only=True)
class ConfusionSummary:
    score: float
    """Detections of at least this score are counted."""
    iou: float
    pairs: tuple[tuple[str, str, int], ...]
    """True class, predicted class, and how often if ever; "" for nothing: a missed object, or a false positive."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary:
    version: int
    dataset: str
    iteration: int | None
    """The training iteration, counted from 0, after which the model was evaluated; None where it is not known."""
    counts: Counts | None
    """None where the evaluator's results do not say."""
    tasks: Mapping[str, TaskSummary]
    confusion: ConfusionSummary | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """In AP, percent, of one class or the mean over classes: B less A, both on the same images."""

    name: str
    objects: int
    a: float | None
    b: float | None
    low: float | None
    """Of the confidence interval; None where too few samples had objects of the class."""
    high: float | None

    @property
    def is_one(self) -> bool:
        """The interval does not contain 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sets of detections on one ground truth."""

    task: str
    images: int
    samples: int
    """Bootstrap samples of the images."""
    confidence: float
    seed: int
    overall: Difference
    classes: tuple[Difference, ...]
