"""detectron2's DefaultTrainer, assembled so that it also trains on CPU processes, stops when asked and goes on."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetMapper, build_detection_test_loader, build_detection_train_loader
from detectron2.engine import DefaultTrainer, TrainerBase, create_ddp_model
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from launcher.errors import RequestError
from launcher.run.heartbeat import Heartbeat
from launcher.run.paths import RunPaths
from launcher.run.resume import ResumePoint
from launcher.train.checkpoint import WholeCheckpointer
from launcher.train.evaluators import evaluator_for, quietly
from launcher.train.loader import UndisturbedMapper
from launcher.train.steps import Steps
from launcher.train.stop import EvaluationStoppedError, Stop, StoppableBatches

NOT_LOADED = -2  # no iteration, and not the one before the first either


class Trainer(DefaultTrainer):
    """Trains to SOLVER.MAX_ITER or until asked to stop.

    Hooks are registered from outside (see `launcher.train.hooks`), so that every rank gets its own list.
    """

    def __init__(
        self,
        cfg: CfgNode,
        *,
        num_processes: int,
        stop: Stop,
        heartbeat: Heartbeat,
        accumulate: int = 1,
        precision: str = "",
    ) -> None:
        # Not DefaultTrainer.__init__: it hands device_ids to DistributedDataParallel even for a model on the CPU, which
        # torch refuses, and it registers its hooks and writers on every rank before the run folder is known.
        TrainerBase.__init__(self)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        loader = self.build_train_loader(cfg)
        device_ids = [comm.get_local_rank()] if cfg.MODEL.DEVICE == "cuda" else None
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
        self._trainer = Steps(model, loader, optimizer, accumulate=accumulate, precision=precision)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.paths = RunPaths(Path(cfg.OUTPUT_DIR))
        self.checkpointer = WholeCheckpointer(model, str(self.paths.checkpoints), trainer=weakref.proxy(self))
        self.cfg = cfg
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.num_processes = num_processes
        self.stop = stop
        self.heartbeat = heartbeat
        self.stopping = False
        """Agreed by all ranks: this iteration is the last one of the attempt."""
        self.iterations_done = 0
        """In all attempts together."""
        self.evaluation_missing = False
        """The latest evaluation was stopped before its end."""
        self.latest_metrics: dict[str, float] = {}
        """Of the latest evaluation, flat: `bbox/AP` and the like."""

    def continue_from(self, resume: ResumePoint | None) -> None:
        """Load everything from a checkpoint, or only MODEL.WEIGHTS when there is none to continue from."""
        if resume is None:
            self.checkpointer.load(self.cfg.MODEL.WEIGHTS, checkpointables=[])
            return
        asked = [
            {key: value for key, value in group.items() if key != "params"} for group in self.optimizer.param_groups
        ]
        base_lrs = list(self.scheduler.base_lrs)
        self.iter = NOT_LOADED
        self.checkpointer.must_fit = True
        self.checkpointer.load(resume.path)
        if self.iter == NOT_LOADED:
            raise RequestError(
                f"{resume.path} holds weights but no state of a training to go on from. "
                "To start from its weights, name it with MODEL.WEIGHTS=PATH instead of resume=PATH."
            )
        self._keep_asked_hyperparameters(asked, base_lrs)
        self.start_iter = self.iterations_done = self.iter + 1

    def _keep_asked_hyperparameters(self, asked: list[dict[str, Any]], base_lrs: list[float]) -> None:
        """A checkpoint brings its own learning rate, momentum and weight decay; the configuration's are to hold."""
        self.scheduler.base_lrs = base_lrs
        for group, values, lr in zip(self.optimizer.param_groups, asked, self.scheduler.get_lr(), strict=True):
            group.update({**values, "lr": lr})

    def train(self) -> None:
        """Like TrainerBase.train, but ends after any iteration in which the ranks agree to stop."""
        self.iter = self.start_iter
        with EventStorage(self.start_iter) as self.storage:
            try:
                self.before_train()
                for self.iter in range(self.start_iter, self.max_iter):  # noqa: B020 - detectron2's own idiom
                    self.before_step()
                    self.run_step()
                    self.iterations_done = self.iter + 1
                    self.heartbeat.beat("training", self.iterations_done)
                    self.stopping = self.stop.agreed(self.num_processes)
                    self.after_step()
                    if self.stopping:
                        break
                if self.iterations_done >= self.max_iter:
                    self.iter = self.max_iter  # what the last evaluation is logged under, also when only it was missing
                self.after_train()
            finally:
                self.close()

    @property
    def finished(self) -> bool:
        return self.iterations_done >= self.max_iter and not self.evaluation_missing

    def close(self) -> None:
        """Close writers and progress lines, whatever happened."""
        for hook in self._hooks:
            close = getattr(hook, "close", None)
            if close is not None:
                close()

    def evaluate(self) -> dict[str, Any] | None:
        """Evaluate on DATASETS.TEST; rank 0 keeps the numbers in `latest_metrics`.

        Returns None when asked to stop meanwhile: an evaluation can take longer than the grace time of a scheduler.
        """
        try:
            with quietly():
                results = self._test_each()
        except EvaluationStoppedError:
            self.stopping = True
            self.evaluation_missing = True
            return None
        self.evaluation_missing = False
        if comm.is_main_process():
            self.latest_metrics = {
                key: float(value)
                for key, value in flatten_results_dict(results).items()
                if isinstance(value, (int, float))
            }
        return results

    def _test_each(self) -> dict[str, Any]:
        """Like DefaultTrainer.test, in batches between which it can be stopped."""
        results = {}
        for name in self.cfg.DATASETS.TEST:
            loader = self.build_test_loader(self.cfg, name)
            shared = len(loader.dataset) // self.num_processes // (loader.batch_sampler.batch_size or 1)
            batches = StoppableBatches(loader, self.stop, self.num_processes, shared, self.heartbeat)
            results[name] = inference_on_dataset(self.model, batches, self.build_evaluator(self.cfg, name))
        return next(iter(results.values())) if len(results) == 1 else results

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_detection_train_loader(cfg, mapper=UndisturbedMapper(DatasetMapper(cfg, is_train=True)))

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        mapper = UndisturbedMapper(DatasetMapper(cfg, is_train=False))
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        return evaluator_for(cfg, dataset_name)
