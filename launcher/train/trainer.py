"""detectron2's DefaultTrainer, assembled so that it also trains on CPU processes, stops when asked and goes on."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper, build_detection_test_loader
from detectron2.engine import DefaultTrainer, TrainerBase, create_ddp_model
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch.distributed import broadcast
from torch.nn import Module

from launcher.errors import RequestError
from launcher.run.heartbeat import TRAINING, Heartbeat
from launcher.run.outcome import EarlyStop
from launcher.run.paths import RunPaths
from launcher.run.plan import Resume, RunPlan
from launcher.run.resume import ResumePoint, ResumePointGoneError
from launcher.train.average import AveragedWeights
from launcher.train.checkpoints.checkpoint import WholeCheckpointer
from launcher.train.evaluation.blank_images import EvaluatorWithStandIns, MapperWithStandIns
from launcher.train.evaluation.evaluators import evaluator_for, quietly
from launcher.train.samples.loader import TrainLoader, UndisturbedMapper, build_train_loader
from launcher.train.seeds import seed_iteration
from launcher.train.steps import Steps
from launcher.train.stop import EvaluationStoppedError, Stop, StoppableBatches

logger = logging.getLogger(__name__)

NOT_LOADED = -2  # no iteration, and not the one before the first either


class Trainer(DefaultTrainer):
    """Trains to SOLVER.MAX_ITER or until asked to stop.

    Hooks are registered from outside (see `launcher.train.hooks`), so that every rank gets its own list. Whatever
    randomness an iteration uses follows from its number, so an interrupted training that goes on does what it would
    have done.
    """

    def __init__(self, cfg: CfgNode, plan: RunPlan, *, rank: int, stop: Stop, heartbeat: Heartbeat) -> None:
        # Not DefaultTrainer.__init__: it hands device_ids to DistributedDataParallel even for a model on the CPU, which
        # torch refuses, and it registers its hooks and writers on every rank before the run folder is known.
        TrainerBase.__init__(self)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        num_processes = plan.devices.num_processes
        self.loader = build_train_loader(
            cfg, seed=cfg.SEED, rank=rank, num_processes=num_processes, max_bad=plan.training.max_bad
        )
        device_ids = [comm.get_local_rank()] if cfg.MODEL.DEVICE == "cuda" else None
        # DistributedDataParallel arranges its gradients anew after the first iteration of each start, and from three
        # processes on that changes the order in which they are added. Looking for unused parameters prevents it.
        model = create_ddp_model(
            model, broadcast_buffers=False, device_ids=device_ids, find_unused_parameters=num_processes > 2
        )
        self._trainer = Steps(
            model, self.loader, optimizer, accumulate=plan.training.accumulate, precision=plan.devices.precision
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.paths = RunPaths(Path(cfg.OUTPUT_DIR))
        self.checkpointer = WholeCheckpointer(model, str(self.paths.checkpoints), trainer=weakref.proxy(self))
        self.average = AveragedWeights(model, plan.training.ema.decay) if plan.training.ema.decay > 0 else None
        if self.average is not None:
            self.checkpointer.add_checkpointable("ema", self.average)
        self.cfg = cfg
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.num_processes = num_processes
        self.rank = rank
        self.stop = stop
        self.heartbeat = heartbeat
        self.stopping = False
        """Agreed by all ranks: this iteration is the last one of the attempt."""
        self.iterations_done = 0
        """In all attempts together."""
        self.evaluation_missing = False
        """The latest evaluation was stopped before its end."""
        self.stopped_early: EarlyStop | None = None
        """Agreed by all ranks: the training has come to its end before its last iteration."""
        self.latest_metrics: dict[str, float] = {}
        """Of the latest evaluation, flat: `bbox/AP` and the like; every rank has them."""
        self.bad_images = 0
        """Training images that no rank could use; known at the end of the attempt."""
        self.bad_test_images: dict[str, str] = {}
        """Images of DATASETS.TEST for which blank ones stood in, by file, and why."""
        self.evaluated_after = -1
        """The iteration that `latest_metrics` belong to."""
        self.rescue: Callable[[], None] = lambda: None
        """Saves what is done before an evaluation that failed ends the training; rank 0's hooks put it here."""
        self.written_until = -1
        """The last iteration of which the writers have written."""
        self.images_seen = 0
        """In all attempts together."""
        self._may_reorder = isinstance(plan.start, Resume) and plan.start.may_reorder
        self._storage_state: dict[str, Any] = {}
        self._with_normalizer = {
            name: module for name, module in self.unwrapped.named_modules() if isinstance(module, DenseDetector)
        }
        self._normalizers: list[dict[str, float]] = []
        """Of every rank: what dense detectors divide their losses by, a running mean that no buffer holds."""

    @property
    def unwrapped(self) -> Module:
        """The model itself, without DistributedDataParallel around it."""
        model: Module = getattr(self.model, "module", self.model)
        return model

    def continue_from(self, resume: ResumePoint | None) -> None:
        """Load everything from a checkpoint, or only MODEL.WEIGHTS when there is none to continue from."""
        if resume is None:
            self.checkpointer.load(self.cfg.MODEL.WEIGHTS, checkpointables=[])
            return
        if not Path(resume.path).exists():
            raise ResumePointGoneError(f"{resume.path} has gone since this attempt was planned.")
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

    def state_dict(self) -> dict[str, Any]:
        """detectron2's, and where the samples, the scalars of the last iterations and the evaluation stand."""
        state: dict[str, Any] = super().state_dict()
        if isinstance(self.loader, TrainLoader):
            state["samples"] = self.loader.state_dict()
        state["scalars"] = scalars_of(self.storage)
        state["normalizers"] = self._normalizers
        state["images_seen"] = self.images_seen
        state["written_until"] = self.written_until
        state["evaluation_missing"] = self.evaluation_missing
        state["evaluated"] = {"after": self.evaluated_after, "metrics": dict(self.latest_metrics)}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also of a checkpoint that detectron2 wrote, which says less."""
        super().load_state_dict(state_dict)
        if isinstance(self.loader, TrainLoader):
            self._go_to(self.loader, state_dict.get("samples"))
        self._put_back_normalizers(state_dict.get("normalizers", []))
        self.images_seen = state_dict.get("images_seen", (self.iter + 1) * self.cfg.SOLVER.IMS_PER_BATCH)
        self._storage_state = state_dict.get("scalars", {})
        self.written_until = state_dict.get("written_until", self.iter)
        self.evaluation_missing = state_dict.get("evaluation_missing", False)
        evaluated = state_dict.get("evaluated", {"after": -1, "metrics": {}})
        self.evaluated_after, self.latest_metrics = evaluated["after"], evaluated["metrics"]

    def _go_to(self, loader: TrainLoader, state: dict[str, Any] | None) -> None:
        if state is not None and (loader.fits(state) or not self._may_reorder):
            loader.load_state_dict(state)
            return
        if state is not None:
            logger.warning("The checkpoint is of another order of samples; training goes on in its own.")
        loader.skip_to(self.iter + 1)

    def _note_normalizers(self) -> None:
        if self._with_normalizer:
            own = {
                name: float(module.loss_normalizer)
                for name, module in self._with_normalizer.items()
                if hasattr(module, "loss_normalizer")
            }
            self._normalizers = comm.all_gather(own)

    def _put_back_normalizers(self, normalizers: list[dict[str, float]]) -> None:
        self._normalizers = normalizers
        if not normalizers:
            return
        for name, module in self._with_normalizer.items():
            values = [of_rank[name] for of_rank in normalizers if name in of_rank]
            if len(values) == self.num_processes:
                module.loss_normalizer = values[self.rank]
            elif values:
                module.loss_normalizer = sum(values) / len(values)

    def _keep_asked_hyperparameters(self, asked: list[dict[str, Any]], base_lrs: list[float]) -> None:
        """A checkpoint brings its own learning rate, momentum and weight decay; the configuration's are to hold."""
        self.scheduler.base_lrs = base_lrs
        for group, values, lr in zip(self.optimizer.param_groups, asked, self.scheduler.get_lr(), strict=True):
            group.update({**values, "lr": lr})

    def train(self) -> None:
        """Like TrainerBase.train, but ends after any iteration in which the ranks agree to stop."""
        self.iter = self.start_iter
        # A scripted loss, such as RetinaNet's, would be optimised after its first calls in a process and then round
        # otherwise, so the first iterations of every attempt would not be those of a training that went on.
        with EventStorage(self.start_iter) as self.storage, torch.jit.optimized_execution(False):
            put_back_scalars(self.storage, self._storage_state)
            try:
                self.before_train()
                for self.iter in range(self.start_iter, self.max_iter):  # noqa: B020 - detectron2's own idiom
                    if self.stopping:
                        break
                    seed_iteration(self.cfg.SEED, self.iter, self.rank)
                    self.before_step()
                    self.run_step()
                    self.iterations_done = self.iter + 1
                    self.images_seen += self.cfg.SOLVER.IMS_PER_BATCH
                    self._note_normalizers()
                    self.heartbeat.beat(TRAINING, self.iterations_done)
                    self.stopping = self.stop.agreed(self.num_processes)
                    self.after_step()
                self.after_train()
                self.bad_images = self._count_bad_images()
            finally:
                self.close()

    @property
    def at_end(self) -> bool:
        return self.iterations_done >= self.max_iter or self.stopped_early is not None

    @property
    def finished(self) -> bool:
        return self.at_end and not self.evaluation_missing

    def _count_bad_images(self) -> int:
        own = list(self.loader.bad) if isinstance(self.loader, TrainLoader) else []
        return len({file for files in comm.all_gather(own) for file in files})

    def close(self) -> None:
        """Close writers and progress lines, whatever happened."""
        for hook in self._hooks:
            close = getattr(hook, "close", None)
            if close is not None:
                close()

    def judged_weights(self) -> contextlib.AbstractContextManager[None]:
        """While entered, the model has the weights that are evaluated and drawn: the averaged ones where there are."""
        return contextlib.nullcontext() if self.average is None else self.average.swapped_in()

    def evaluate(self) -> dict[str, Any] | None:
        """Evaluate on DATASETS.TEST; the numbers are then in `latest_metrics`.

        Returns None when asked to stop meanwhile: an evaluation can take longer than the grace time of a scheduler.
        """
        self._take_statistics_of_rank_zero()
        try:
            with quietly(), self.judged_weights():
                results = self._test_each()
        except EvaluationStoppedError:
            self.stopping = True
            self.evaluation_missing = True
            return None
        self.evaluation_missing = False
        numbers = {
            key: float(value) for key, value in flatten_results_dict(results).items() if isinstance(value, (int, float))
        }
        # Evaluators give them to rank 0 alone; what follows from them is to be the same everywhere.
        self.latest_metrics = comm.all_gather(numbers)[0]
        self.evaluated_after = self.iterations_done - 1
        for unreadable in comm.all_gather(self.bad_test_images):
            self.bad_test_images.update(unreadable)
        return results

    def _take_statistics_of_rank_zero(self) -> None:
        """Evaluate on every rank what is saved: rank 0's running statistics of batch normalisation.

        Those of the other ranks follow from their own images, and a training that goes on would not have them.
        """
        if self.num_processes > 1:
            for buffer in self.model.buffers():
                broadcast(buffer, src=0)

    def _test_each(self) -> dict[str, Any]:
        """Like DefaultTrainer.test, in batches between which it can be stopped."""
        results = {}
        for name in self.cfg.DATASETS.TEST:
            loader = self.build_test_loader(self.cfg, name)
            shared = len(loader.dataset) // self.num_processes // (loader.batch_sampler.batch_size or 1)
            batches = StoppableBatches(loader, self.stop, self.num_processes, shared, self.heartbeat)
            evaluator = EvaluatorWithStandIns(self.build_evaluator(self.cfg, name), self._note_bad_test_image)
            results[name] = inference_on_dataset(self.model, batches, evaluator)
        return next(iter(results.values())) if len(results) == 1 else results

    def _note_bad_test_image(self, file: str, reason: str) -> None:
        if file not in self.bad_test_images:
            logger.warning("%s cannot be read and is evaluated as if nothing was found in it (%s)", file, reason)
        self.bad_test_images[file] = reason

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        mapper = UndisturbedMapper(MapperWithStandIns(DatasetMapper(cfg, is_train=False)))
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        return evaluator_for(cfg, dataset_name)


KEPT_SCALARS = 200  # of each name; longer windows are not looked at
TIMES = frozenset({"time", "data_time", "rank_data_time", "images_per_second"})


def scalars_of(storage: EventStorage) -> dict[str, Any]:
    """The latest scalars and the windows that they are smoothed over, as plain data.

    Without times: another attempt may run on another machine.
    """
    windows = {name: history.values()[-KEPT_SCALARS:] for name, history in storage.histories().items()}
    return {
        "latest": {name: list(pair) for name, pair in storage.latest().items() if name not in TIMES},
        "windows": {name: [list(pair) for pair in window] for name, window in windows.items() if name not in TIMES},
        "smoothed": dict(storage.smoothing_hints()),
    }


def put_back_scalars(storage: EventStorage, state: dict[str, Any]) -> None:
    for name, window in state.get("windows", {}).items():
        for value, iteration in window:
            storage.put_scalar(name, value, smoothing_hint=state["smoothed"][name], cur_iter=iteration)
    storage.latest().update({name: (value, iteration) for name, (value, iteration) in state.get("latest", {}).items()})
