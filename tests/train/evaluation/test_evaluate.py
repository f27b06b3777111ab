from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.evaluation import DatasetEvaluator

from launcher.run.heartbeat import Heartbeat
from launcher.train.evaluation.blank_images import BLANK_FOR
from launcher.train.evaluation.evaluate import Evaluation, EvaluationStoppedError, StoppableBatches, evaluate
from launcher.train.stop import Stop

NUM_IMAGES = 3


class Doubles(torch.nn.Module):
    """Detects, in each image, as many objects as it has a number, twice."""

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"instances": torch.full((image["number"],), 2.0)} for image in batch]


class Counts(DatasetEvaluator):
    def __init__(self) -> None:
        self.found = 0.0

    def reset(self) -> None:
        self.found = 0.0

    def process(self, inputs: Any, outputs: Any) -> None:
        self.found += sum(float(output["instances"].sum()) for output in outputs)

    def evaluate(self) -> dict[str, Any]:
        return {"bbox": {"AP": self.found, "AP50": np.float32(1.5), "name": "no number"}}


def batches_of(name: str) -> list[list[dict[str, Any]]]:
    images = [{"number": number, "file_name": f"{name}-{number}.jpg"} for number in range(1, NUM_IMAGES + 1)]
    if name == "damaged":
        images[1][BLANK_FOR] = "truncated"
    return [[image] for image in images]


def evaluated(*names: str, stop: Stop | None = None, build_evaluator: Any = lambda *_: Counts()) -> Evaluation:
    cfg: CfgNode = get_cfg()
    cfg.DATASETS.TEST = names
    return evaluate(
        Doubles(),
        cfg,
        build_test_loader=lambda _, name: batches_of(name),
        build_evaluator=build_evaluator,
        stop=stop or Stop(),
        heartbeat=Heartbeat(None),
    )


def test_a_bare_model_is_evaluated_and_every_number_is_a_metric():
    evaluation = evaluated("val")

    assert evaluation.metrics == {"bbox/AP": 12.0, "bbox/AP50": 1.5}
    assert evaluation.results["bbox"]["name"] == "no number"
    assert (evaluation.unreadable, evaluation.stopped) == ({}, False)


def test_metrics_of_several_data_sets_have_their_names_before_them():
    evaluation = evaluated("one", "two")

    assert set(evaluation.metrics) == {"one/bbox/AP", "one/bbox/AP50", "two/bbox/AP", "two/bbox/AP50"}


def test_an_unreadable_image_counts_without_detections_for_whatever_evaluator_and_is_reported(
    caplog: pytest.LogCaptureFixture,
):
    evaluation = evaluated("damaged")

    assert evaluation.metrics["bbox/AP"] == 2.0 + 6.0
    assert evaluation.unreadable == {"damaged-2.jpg": "truncated"}
    assert "damaged-2.jpg cannot be read and counts as an image without detections (truncated)" in caplog.text


@pytest.mark.parametrize("built", [None, []])
def test_a_data_set_without_an_evaluator_gives_no_metrics(built: Any):
    assert evaluated("val", build_evaluator=lambda *_: built).metrics == {}


def test_several_evaluators_of_a_data_set_are_asked_all():
    class Other(Counts):
        def evaluate(self) -> dict[str, Any]:
            return {"segm": {"AP": 1.0}}

    evaluation = evaluated("val", build_evaluator=lambda *_: [Counts(), Other()])

    assert evaluation.metrics == {"bbox/AP": 12.0, "bbox/AP50": 1.5, "segm/AP": 1.0}


def test_an_evaluation_that_is_asked_to_stop_has_no_metrics():
    stop = Stop()
    stop.asked = True

    evaluation = evaluated("val", stop=stop)

    assert evaluation.stopped
    assert (evaluation.results, evaluation.metrics) == ({}, {})


def stoppable(loader: Any, stop: Stop) -> StoppableBatches:
    return StoppableBatches(loader, stop, Heartbeat(None))


def test_batches_end_when_asked_between_two_of_them():
    stop = Stop()
    seen = []

    def look_at(batch: str) -> None:
        seen.append(batch)
        stop.asked = batch == "b"

    with pytest.raises(EvaluationStoppedError):
        list(map(look_at, stoppable(["a", "b", "c"], stop)))

    assert seen == ["a", "b"]


def test_ranks_ask_each_other_only_for_batches_that_all_have(monkeypatch: pytest.MonkeyPatch):
    """A rank with one batch more must not wait for an answer of ranks that are done."""
    monkeypatch.setattr("launcher.train.evaluation.evaluate.comm.all_gather", lambda own: [own, 1])
    stop = Stop()
    seen = []

    batches = stoppable(["a", "b"], stop)
    for batch in batches:
        seen.append(batch)
        stop.asked = True

    assert seen == ["a", "b"]
    assert len(batches) == 2
