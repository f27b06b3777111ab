"""Small trainings in this process, with trainers of a user's own."""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog, build_detection_train_loader
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import HookBase
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventWriter

from launcher.config.request import CheckpointSettings, EarlyStoppingSettings, LoggingSettings
from launcher.errors import DataError
from launcher.run.heartbeat import Heartbeat
from launcher.run.outcome import WorkerResult
from launcher.run.paths import RunPaths
from launcher.run.resume import look_for_checkpoints
from launcher.train import Trainer
from launcher.train.evaluation.blank_images import BLANK_FOR
from launcher.train.evaluation.evaluate import Options
from launcher.train.output.scalars import VALIDATION
from launcher.train.stop import Stop
from launcher.train.tasks.train import Attempt, train
from launcher.train.trainer import Setup
from tests.exact import metrics_in, weights_in

SPLITS = ("task_test_train", "task_test_val")
SETUP = Setup(
    rank=0,
    num_processes=1,
    micro_batches=1,
    precision="",
    max_bad=0,
    ema_decay=0.0,
    evaluation=Options(),
    may_reorder=False,
)


@pytest.fixture
def cfg(small_demo: Path, tmp_path: Path) -> Iterator[CfgNode]:
    """A tiny RetinaNet, three iterations of a tenth of a second, on the small demo."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so little, more only wait for each other where other tests use the cores too
    images = tmp_path / "images"
    for name, split in zip(SPLITS, ("train", "val"), strict=True):
        shutil.copytree(small_demo / split, images / split)
        register_coco_instances(name, {}, str(small_demo / f"{split}.json"), str(images / split))
    cfg = model_zoo.get_config("COCO-Detection/retinanet_R_50_FPN_1x.yaml")
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (SPLITS[0],), (SPLITS[1],)
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS, cfg.MODEL.BACKBONE.FREEZE_AT = "cpu", "", 0
    cfg.MODEL.RETINANET.NUM_CLASSES, cfg.MODEL.RETINANET.NUM_CONVS = 10, 1
    cfg.MODEL.RESNETS.NORM, cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = "BN", 8
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS, cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 16, 4
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MASK_FORMAT = (64,), 64, "bitmask"
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR, cfg.SOLVER.STEPS, cfg.SOLVER.MAX_ITER = 2, 0.001, (), 3
    cfg.DATALOADER.NUM_WORKERS, cfg.SEED = 0, 3
    cfg.OUTPUT_DIR = str(tmp_path / "run")
    yield cfg
    torch.set_num_threads(threads)
    for name in SPLITS:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


ATTEMPTS = count(1)


def attempt(
    cfg: CfgNode, trainer_class: type[Trainer], stop: Stop | None = None, *, validation_loss: int = 0
) -> WorkerResult:
    """One attempt at the run of this configuration, from its newest checkpoint on."""
    paths = RunPaths(Path(cfg.OUTPUT_DIR))
    paths.checkpoints.mkdir(parents=True, exist_ok=True)
    seed_all_rng(cfg.SEED)
    this = Attempt(
        number=next(ATTEMPTS),
        setup=replace(SETUP, evaluation=Options(kept_in=paths.unfinished_evaluation)),
        resume=look_for_checkpoints(paths).newest_valid,
        early_stopping=EarlyStoppingSettings(),
        checkpoint=CheckpointSettings(),
        logging=LoggingSettings(period=1, images=0, tensorboard=False, validation_loss=validation_loss),
    )
    return train(cfg, this, trainer_class, stop=stop or Stop(), heartbeat=Heartbeat(None))


def run_of(cfg: CfgNode) -> RunPaths:
    return RunPaths(Path(cfg.OUTPUT_DIR))


def stopped_after(iteration: int, stop: Stop) -> type[HookBase]:
    class StopAfter(HookBase):
        def before_step(self) -> None:
            stop.asked = self.trainer.iter == iteration

    return StopAfter


def interrupted(cfg: CfgNode, make: Callable[[Stop], type[Trainer]]) -> None:
    """Train until the trainer stops itself, and resume to the end."""
    stop = Stop()
    assert not attempt(cfg, make(stop), stop).finished
    assert attempt(cfg, make(Stop())).finished


@dataclass
class Called:
    """What a trainer of one's own was asked for."""

    names: list[str] = field(default_factory=list)


def noting(called: Called) -> type[Trainer]:
    """A trainer that overrides every method that may be, as detectron2's users do."""

    class Noting(Trainer):
        @classmethod
        def build_model(cls, cfg: CfgNode) -> Any:
            called.names.append("model")
            model = super().build_model(cfg)
            model.own = torch.nn.Linear(1, 1)
            return model

        @classmethod
        def build_optimizer(cls, cfg: CfgNode, model: Any) -> Any:
            called.names.append("optimizer")
            return torch.optim.AdamW(model.parameters(), lr=cfg.SOLVER.BASE_LR)

        @classmethod
        def build_lr_scheduler(cls, cfg: CfgNode, optimizer: Any) -> Any:
            called.names.append("scheduler")
            return torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)

        @classmethod
        def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Any:
            called.names.append(f"mapper for {'training' if is_train else 'evaluation'}")
            return super().build_mapper(cfg, is_train)

        @classmethod
        def build_train_loader(cls, cfg: CfgNode) -> Any:
            called.names.append("train loader")
            return super().build_train_loader(cfg)

        @classmethod
        def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
            called.names.append("test loader")
            return super().build_test_loader(cfg, dataset_name)

        @classmethod
        def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> Any:
            called.names.append("evaluator")
            return super().build_evaluator(cfg, dataset_name)

        def build_hooks(self) -> list[HookBase]:
            called.names.append("hooks")
            return super().build_hooks()

        def build_writers(self) -> list[EventWriter]:
            called.names.append("writers")
            return super().build_writers()

    return Noting


def test_every_method_that_may_be_overridden_has_effect(cfg: CfgNode):
    called = Called()

    assert attempt(cfg, noting(called)).finished

    assert called.names == [
        "model",
        "optimizer",
        "train loader",
        "mapper for training",
        "scheduler",
        "hooks",
        "writers",
        "test loader",
        "mapper for evaluation",
        "evaluator",
    ]
    checkpoint = torch.load(run_of(cfg).final_weights, weights_only=True)
    assert "own.weight" in checkpoint["model"]
    assert "exp_avg" in checkpoint["trainer"]["_trainer"]["optimizer"]["state"][0]
    assert [line["lr"] for line in metrics_in(run_of(cfg))] == [0.001, 0.0005, 0.00025]


class Drawing:
    """A mapper whose samples depend on every source of random numbers."""

    def __init__(self, cfg: CfgNode) -> None:
        self._mapper = DatasetMapper(cfg, is_train=True)

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        sample = self._mapper(record)
        noise = random.random() + np.random.rand() + torch.rand(()).item()
        sample["image"] = sample["image"].float() + noise
        return sample


class Averages(HookBase):
    """Keeps a state of its own, which depends on every iteration, and reports it."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.average = 0.0

    def after_backward(self) -> None:
        norm = sum(float(p.grad.norm()) for p in self.trainer.model.parameters() if p.grad is not None)
        self.average = self.factor * self.average + norm

    def after_step(self) -> None:
        self.trainer.storage.put_scalar(f"average_{self.factor}", self.average, smoothing_hint=False)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average = state["average"]


def exact(stop: Stop) -> type[Trainer]:
    class Exact(Trainer):
        @classmethod
        def build_optimizer(cls, cfg: CfgNode, model: Any) -> Any:
            return torch.optim.AdamW(model.parameters(), lr=cfg.SOLVER.BASE_LR)

        @classmethod
        def build_lr_scheduler(cls, cfg: CfgNode, optimizer: Any) -> Any:
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)

        @classmethod
        def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Any:
            return Drawing(cfg) if is_train else super().build_mapper(cfg, is_train)

        def build_hooks(self) -> list[HookBase]:
            return [Averages(0.5), Averages(0.9), stopped_after(1, stop)()]

    return Exact


def test_a_training_with_mapper_optimizer_schedule_and_hooks_of_ones_own_resumes_to_the_last_bit(
    cfg: CfgNode, tmp_path: Path
):
    cfg.SOLVER.MAX_ITER = 5
    cfg.TEST.EVAL_PERIOD = 2
    whole = cfg.clone()
    whole.OUTPUT_DIR = str(tmp_path / "whole")
    attempt(whole, exact(Stop()))

    interrupted(cfg, exact)

    assert weights_in(run_of(cfg).final_weights) == weights_in(run_of(whole).final_weights)
    lines = metrics_in(run_of(cfg))
    assert lines == metrics_in(run_of(whole))
    assert {"average_0.5", "average_0.9", "bbox/AP"} <= lines[-1].keys()
    assert 0 < lines[-1]["average_0.5"] < lines[-1]["average_0.9"]


class Seen(DatasetEvaluator):
    """How many objects were detected in each image."""

    def reset(self) -> None:
        self.detections: dict[str, int] = {}

    def process(self, inputs: Any, outputs: Any) -> None:
        for image, output in zip(inputs, outputs, strict=True):
            name = "blank" if BLANK_FOR in image else "other"
            self.detections[name] = self.detections.get(name, 0) + len(output["instances"])

    def evaluate(self) -> dict[str, Any]:
        return {"mine": {name: float(number) for name, number in self.detections.items()}}


class WithOwnEvaluator(Trainer):
    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> Any:
        return [Seen(), COCOEvaluator(dataset_name, output_dir=cfg.OUTPUT_DIR)]


def test_an_evaluator_of_ones_own_is_given_no_detections_on_images_that_cannot_be_read(cfg: CfgNode, tmp_path: Path):
    first = sorted((tmp_path / "images" / "val").iterdir())[0]
    first.write_bytes(b"half")
    cfg.MODEL.RETINANET.SCORE_THRESH_TEST = 0.0

    result = attempt(cfg, WithOwnEvaluator)

    assert result.finished
    assert result.work.bad_test_images == 1
    assert result.work.metrics["mine/blank"] == 0
    assert result.work.metrics["mine/other"] > 0
    assert "bbox/AP" in result.work.metrics


def test_a_data_set_of_another_kind_is_evaluated_by_an_evaluator_of_ones_own(cfg: CfgNode):
    MetadataCatalog.remove(SPLITS[1])
    MetadataCatalog.get(SPLITS[1]).evaluator_type = "counting"

    class OwnKind(Trainer):
        @classmethod
        def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> Any:
            return Seen()

    with pytest.raises(DataError, match=r"evaluator_type is counting.*build_evaluator"):
        attempt(cfg, Trainer)

    assert set(attempt(cfg, OwnKind).work.metrics) == {"mine/other"}


class WithDetectron2sLoader(Trainer):
    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_detection_train_loader(cfg, mapper=DatasetMapper(cfg, is_train=True))


def test_a_loader_of_ones_own_trains_with_a_warning_that_its_order_begins_anew(
    cfg: CfgNode, caplog: pytest.LogCaptureFixture
):
    cfg.DATASETS.TEST = ()

    with caplog.at_level(logging.WARNING):
        assert attempt(cfg, WithDetectron2sLoader).finished

    assert "build_train_loader of WithDetectron2sLoader gives a loader of its own" in caplog.text
    assert "override build_mapper instead" in caplog.text


class Lines(EventWriter):
    """A line for each write, with the latest value of a scalar."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self) -> None:
        from detectron2.utils.events import get_event_storage

        latest = {name: value for name, (value, _) in get_event_storage().latest().items() if name == "seen_by_hook"}
        with self._file.open("a") as file:
            file.write(json.dumps(latest) + "\n")


class LooksAtTheEvaluation(HookBase):
    def after_step(self) -> None:
        evaluated = "bbox/AP" in self.trainer.storage.latest()
        self.trainer.storage.put_scalar("seen_by_hook", float(evaluated), smoothing_hint=False)


class WithOwnWriter(Trainer):
    def build_hooks(self) -> list[HookBase]:
        return [*super().build_hooks(), LooksAtTheEvaluation()]

    def build_writers(self) -> list[EventWriter]:
        return [*super().build_writers(), Lines(self.paths.folder / "lines")]


def test_hooks_of_ones_own_run_between_evaluation_and_writing(cfg: CfgNode):
    cfg.SOLVER.MAX_ITER = 2

    attempt(cfg, WithOwnWriter)

    written = [json.loads(line) for line in (run_of(cfg).folder / "lines").read_text().splitlines()]
    assert [line["seen_by_hook"] for line in written][:2] == [0.0, 1.0]
    assert [line["seen_by_hook"] for line in metrics_in(run_of(cfg))] == [0.0, 1.0]


def test_a_resumed_training_computes_with_as_many_threads_as_it_began_with(
    cfg: CfgNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert attempt(cfg, Trainer).finished
    whole = weights_in(run_of(cfg).final_weights)
    cfg.OUTPUT_DIR = str(tmp_path / "interrupted")
    stop = Stop()

    class Stopping(Trainer):
        def build_hooks(self) -> list[HookBase]:
            return [stopped_after(1, stop)()]

    assert not attempt(cfg, Stopping, stop).finished
    torch.set_num_threads(3)
    with caplog.at_level(logging.WARNING, "launcher"):
        assert attempt(cfg, Trainer).finished

    assert torch.get_num_threads() == 1
    assert any("began with 1 thread per process and keeps that number" in message for message in caplog.messages)
    assert weights_in(run_of(cfg).final_weights) == whole


def counting(seen: list[str], stop: Stop | None = None) -> type[Trainer]:
    """A trainer that notes the images it evaluates, and asks to stop at the third where there is somebody to ask."""

    class Counting(Trainer):
        @classmethod
        def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Any:
            mapper = super().build_mapper(cfg, is_train)

            def noting(record: dict[str, Any]) -> dict[str, Any]:
                seen.append(record["file_name"])
                if stop is not None:
                    stop.asked = len(seen) >= 3
                return mapper(record)

            return mapper if is_train else noting

    return Counting


def test_an_evaluation_that_a_stop_interrupted_continues_in_the_next_attempt_with_the_images_that_are_left(
    cfg: CfgNode,
):
    stop, first, second = Stop(), [], []

    assert not attempt(cfg, counting(first, stop), stop).finished
    continued = attempt(cfg, counting(second))
    whole = attempt(elsewhere(cfg), Trainer)

    assert len({*first, *second}) == 6
    assert (len(first), second[0]) == (3, first[2])  # it was loaded when the stop came, and not looked at
    assert len(second) == 4
    assert continued.work.metrics == whole.work.metrics
    assert not run_of(cfg).unfinished_evaluation.exists()


def elsewhere(cfg: CfgNode) -> CfgNode:
    other = cfg.clone()
    other.OUTPUT_DIR = f"{cfg.OUTPUT_DIR}-elsewhere"
    return other


def without_validation(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if not name.startswith(VALIDATION)} for line in metrics]


def test_the_loss_on_validation_images_changes_nothing_of_a_training(cfg: CfgNode, tmp_path: Path):
    cfg.TEST.EVAL_PERIOD = 1
    attempt(cfg, Trainer)
    plain = run_of(cfg)
    cfg.OUTPUT_DIR = str(tmp_path / "observed")

    attempt(cfg, Trainer, validation_loss=4)

    observed = run_of(cfg)
    assert weights_in(observed.final_weights) == weights_in(plain.final_weights)
    assert without_validation(metrics_in(observed)) == metrics_in(plain)
    losses = [
        {name: value for name, value in line.items() if name.startswith(VALIDATION)} for line in metrics_in(observed)
    ]
    assert [set(line) for line in losses] == [
        {"validation/total_loss", "validation/loss_cls", "validation/loss_box_reg"}
    ] * 3
    assert len({line["validation/total_loss"] for line in losses}) == 3
    for line in losses:
        assert line["validation/total_loss"] == pytest.approx(
            line["validation/loss_cls"] + line["validation/loss_box_reg"]
        )


def test_the_loss_on_validation_images_is_the_same_after_a_resume(cfg: CfgNode, tmp_path: Path):
    cfg.TEST.EVAL_PERIOD = 1
    attempt(cfg, Trainer, validation_loss=4)
    whole = run_of(cfg)
    cfg.OUTPUT_DIR = str(tmp_path / "interrupted")
    stop = Stop()

    class Stopping(Trainer):
        def build_hooks(self) -> list[HookBase]:
            return [stopped_after(1, stop)()]

    assert not attempt(cfg, Stopping, stop, validation_loss=4).finished
    assert attempt(cfg, Trainer, validation_loss=4).finished

    assert metrics_in(run_of(cfg)) == metrics_in(whole)
    assert weights_in(run_of(cfg).final_weights) == weights_in(whole.final_weights)


def test_a_loss_that_cannot_be_computed_is_a_warning(cfg: CfgNode, caplog: pytest.LogCaptureFixture):
    class WithoutTargets(Trainer):
        @classmethod
        def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Any:
            mapper = super().build_mapper(cfg, is_train)
            is_for_validation = cfg.INPUT.RANDOM_FLIP == "none"
            return (lambda sample: {**mapper(sample), "instances": None}) if is_for_validation else mapper

    assert attempt(cfg, WithoutTargets, validation_loss=4).finished

    assert "The loss on validation images could not be computed" in caplog.text
    assert not [line for line in metrics_in(run_of(cfg)) if any(name.startswith(VALIDATION) for name in line)]
