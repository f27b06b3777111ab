"""detectron2's DefaultTrainer, assembled so that it trains on CPU processes too, stops when asked, resumes exactly."""

from __future__ import annotations

import contextlib
import logging
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, create_ddp_model
from detectron2.evaluation import DatasetEvaluator
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, EventWriter
from fvcore.common.param_scheduler import ParamScheduler
from torch.nn import Module
from torch.optim import Optimizer

from launcher.errors import ExitCode, RequestError, TrainingFailedError
from launcher.run.heartbeat import TRAINING, Heartbeat
from launcher.run.paths import RunPaths
from launcher.run.resume import ResumePoint, ResumePointGoneError
from launcher.train.average import AveragedWeights
from launcher.train.checkpoints.checkpoint import SafeCheckpointer
from launcher.train.evaluation.blank_images import MapperWithBlanks
from launcher.train.evaluation.evaluate import Evaluation, Options, evaluate
from launcher.train.evaluation.evaluators import evaluator_for
from launcher.train.hooks.states import load_states, states_of
from launcher.train.normalizers import LossNormalizers
from launcher.train.output.scalars import put_back_scalars, scalars_of
from launcher.train.samples.loader import TrainLoader, Undisturbed, build_test_loader, build_train_loader
from launcher.train.samples.lost import StoppedWaitingError
from launcher.train.samples.mapped import Mapper
from launcher.train.schedule import Hyperparameters
from launcher.train.seeds import seed_iteration
from launcher.train.state import TrainingState
from launcher.train.steps import Steps
from launcher.train.stop import Stop
from launcher.train.threads import Threads

logger = logging.getLogger(__name__)

NOT_LOADED = -2  # no iteration, and not the one before the first either


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How one process trains, as far as detectron2's configuration does not say it."""

    rank: int
    num_processes: int
    micro_batches: int
    """Parts into which each process splits its images of an iteration."""
    precision: str
    """float16 or bfloat16 for automatic mixed precision, or empty for none."""
    max_bad: int
    """Training images that may turn out to be unusable."""
    ema_decay: float
    """0 for no averaged weights."""
    evaluation: Options
    may_reorder: bool
    """The checkpoint may be of another order of samples."""


class Trainer(DefaultTrainer):
    """Trains to SOLVER.MAX_ITER or until asked to stop; the base class of trainers of one's own.

    Any of the methods `build_*` can be overridden, with detectron2's signatures. No other method can be (see
    `launcher.train.build.check_overrides`): what is to happen around the iterations goes into a hook.

    Whatever randomness an iteration uses follows from its number, so a resumed training does what an uninterrupted one
    would have done.
    """

    def __init__(self, cfg: CfgNode, setup: Setup, *, stop: Stop, heartbeat: Heartbeat) -> None:
        # Not DefaultTrainer.__init__: it hands device_ids to DistributedDataParallel even for a model on the CPU, which
        # torch refuses, and it registers its hooks and writers on every rank before the run folder is known.
        TrainerBase.__init__(self)
        self.cfg = cfg
        self.setup = setup
        self.stop = stop
        self.heartbeat = heartbeat
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.state = TrainingState(max_iter=self.max_iter)
        self.paths = RunPaths(Path(cfg.OUTPUT_DIR))
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        self.loader = self.make_train_loader(cfg)
        self.normalizers = LossNormalizers(model, rank=setup.rank, num_processes=setup.num_processes)
        self._trainer = Steps(
            _distributed(model, cfg),
            self.loader,
            optimizer,
            micro_batches=setup.micro_batches,
            precision=setup.precision,
            device=cfg.MODEL.DEVICE,
            after_backward=self.after_backward,
        )
        self.scheduler = self._make_scheduler(optimizer)
        self.average = AveragedWeights(model, setup.ema_decay) if setup.ema_decay > 0 else None
        parts = {} if self.average is None else {"ema": self.average}
        self.checkpointer = SafeCheckpointer(
            self.model, str(self.paths.checkpoints), trainer=weakref.proxy(self), **parts
        )
        self._scalars: dict[str, Any] = {}
        self._threads = Threads.now(setup.num_processes)

    @classmethod
    def build_model(cls, cfg: CfgNode) -> Module:
        """The model, on its device; its weights are loaded later. By default what MODEL.META_ARCHITECTURE names."""
        return super().build_model(cfg)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: Module) -> Optimizer:
        """The optimizer. By default detectron2's SGD, as SOLVER says."""
        return super().build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: Optimizer) -> Any:
        """A scheduler of torch's or fvcore's kind, stepped after every iteration. By default as SOLVER says."""
        return super().build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_mapper(cls, cfg: CfgNode, is_train: bool) -> Mapper:
        """What makes a model's input of a record of a data set. Its random numbers are seeded for each sample."""
        mapper: Mapper = DatasetMapper(cfg, is_train=is_train)
        return mapper

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        """The batches of this process, without end.

        With another loader than this one training works too, but the sample order starts over at each start, and
        unusable images are not replaced. For augmentations of one's own, override `build_mapper` instead.
        """
        return build_train_loader(
            cfg,
            cls.build_mapper(cfg, True),
            seed=cfg.SEED,
            rank=comm.get_rank(),
            num_processes=comm.get_world_size(),
        )

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """The batches of a data set of DATASETS.TEST, with a blank image in place of one that cannot be read."""
        return build_test_loader(cfg, dataset_name, MapperWithBlanks(cls.build_mapper(cfg, False)))

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """The evaluator of a data set, or a list of several. By default what its `evaluator_type` asks for."""
        return evaluator_for(cfg, dataset_name)

    def build_hooks(self) -> list[HookBase]:
        """Hooks of one's own, on every rank; the launcher's own are not among them and run anyway.

        They run after the evaluation and before metrics are written and checkpoints saved. One that has `state_dict`
        and `load_state_dict` keeps its state, rank 0's, when the training is resumed. One that has `close` is closed
        at the end, however that comes.
        """
        return []

    def build_writers(self) -> list[EventWriter]:
        """Writers of one's own, on rank 0; metrics.json and TensorBoard are written anyway."""
        return []

    def make_train_loader(self, cfg: CfgNode) -> Any:
        """What `build_train_loader` gives, as this training needs it."""
        loader = self.build_train_loader(cfg)
        if isinstance(loader, TrainLoader):
            loader.max_bad = self.setup.max_bad
            return loader
        if not isinstance(loader, Undisturbed):
            logger.warning(
                "The sample order starts over whenever training is resumed: build_train_loader of %s gives a "
                "loader of its own. To resume exactly, override build_mapper instead.",
                type(self).__name__,
            )
        return loader if isinstance(loader, Undisturbed) else Undisturbed(loader)

    def _make_scheduler(self, optimizer: Optimizer) -> Any:
        scheduler = self.build_lr_scheduler(self.cfg, optimizer)
        return LRMultiplier(optimizer, scheduler, self.max_iter) if isinstance(scheduler, ParamScheduler) else scheduler

    def continue_from(self, resume: ResumePoint | None) -> None:
        """Load everything from a checkpoint, or only MODEL.WEIGHTS when there is none to resume from."""
        if resume is None:
            self.checkpointer.load(self.cfg.MODEL.WEIGHTS, checkpointables=[])
            return
        if not Path(resume.path).exists():
            raise ResumePointGoneError(f"{resume.path} has gone since this attempt was planned.")
        asked = Hyperparameters(self.optimizer, self.scheduler)
        self.iter = NOT_LOADED
        self.checkpointer.must_fit = True
        self.checkpointer.load(resume.path)
        if self.iter == NOT_LOADED:
            raise RequestError(
                f"{resume.path} holds weights but no state of a training to resume. "
                "To start from its weights, name it with MODEL.WEIGHTS=PATH instead of resume=PATH."
            )
        asked.put_back()
        self.start_iter = self.state.start

    def state_dict(self) -> dict[str, Any]:
        """detectron2's, and where the samples, the scalars of the last iterations and the evaluation stand."""
        state: dict[str, Any] = {**super().state_dict(), **self.state.state_dict()}
        state["iteration"] = self.state.last_iteration
        if hooks := states_of(self._hooks):
            state["hooks"] = hooks
        if isinstance(self.loader, TrainLoader):
            state["samples"] = self.loader.state_dict()
        state["scalars"] = scalars_of(self.storage)
        state["normalizers"] = self.normalizers.state()
        state["threads"] = self._threads.state()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also of a checkpoint that detectron2 wrote, which says less."""
        super().load_state_dict({**state_dict, "hooks": {}})
        load_states(self._hooks, state_dict.get("hooks", {}))
        self.state.load_state_dict(
            state_dict, iterations_done=self.iter + 1, images_per_iteration=self.cfg.SOLVER.IMS_PER_BATCH
        )
        if isinstance(self.loader, TrainLoader):
            self._go_to(self.loader, state_dict.get("samples"))
        self.normalizers.put_back(state_dict.get("normalizers", []))
        self._scalars = state_dict.get("scalars", {})
        if self.cfg.MODEL.DEVICE == "cpu":
            self._threads = self._threads.kept(state_dict.get("threads"))

    def _go_to(self, loader: TrainLoader, state: dict[str, Any] | None) -> None:
        if state is not None and (loader.fits(state) or not self.setup.may_reorder):
            loader.load_state_dict(state)
            return
        if state is not None:
            logger.warning("The checkpoint is of another order of samples; training continues in its own.")
        loader.skip_to(self.state.iterations_done)

    def train(self) -> None:
        """Like TrainerBase.train, but ends after any iteration in which the ranks agree to stop."""
        self.iter = self.start_iter
        # A scripted loss, such as RetinaNet's, would be optimised after its first calls in a process and then round
        # otherwise, so the first iterations of every attempt would not be those of a training that was not interrupted.
        with EventStorage(self.start_iter) as self.storage, torch.jit.optimized_execution(False):
            put_back_scalars(self.storage, self._scalars)
            try:
                self.before_train()
                for self.iter in range(self.start_iter, self.max_iter):  # noqa: B020 - detectron2's own idiom
                    if self.state.stopping:
                        break
                    if not self._train_iteration():
                        break
                self.after_train()
            finally:
                self.close()

    def _train_iteration(self) -> bool:
        """False where it was not begun: a stop was asked, and no batch came."""
        seed_iteration(self.cfg.SEED, self.iter, self.setup.rank)
        self.before_step()
        try:
            self.run_step()
        except StoppedWaitingError as error:
            if self.setup.num_processes > 1:  # the other ranks wait for this one, which they cannot be told
                message = "A stop was asked while a batch was waited for, which did not come"
                raise TrainingFailedError(message, ExitCode.resumable) from error
            self.state.stopping = True
            return False
        self.state.count_iteration(self.cfg.SOLVER.IMS_PER_BATCH)
        self.normalizers.note()
        self.heartbeat.beat(TRAINING, self.state.iterations_done)
        self.state.stopping = self.stop.agreed(self.setup.num_processes)
        self.after_step()
        return True

    def count_bad_images(self) -> int:
        """Training images that no rank could use; every rank must call this at the same point."""
        own = list(self.loader.bad) if isinstance(self.loader, TrainLoader) else []
        return len({file for files in comm.all_gather(own) for file in files})

    def close(self) -> None:
        """Close writers and progress lines, whatever happened."""
        with contextlib.ExitStack() as closing:
            for hook in reversed(self._hooks):
                if hasattr(hook, "close"):
                    closing.callback(hook.close)

    def evaluated_weights(self) -> contextlib.AbstractContextManager[None]:
        """While entered, the model has the weights that are evaluated and drawn: the averaged ones where there are."""
        return contextlib.nullcontext() if self.average is None else self.average.swapped_in()

    def evaluate(self) -> Evaluation:
        """Evaluate on DATASETS.TEST, as far as nobody asks to stop meanwhile."""
        with self.evaluated_weights():
            evaluation = evaluate(
                self.model,
                self.cfg,
                build_test_loader=self.build_test_loader,
                build_evaluator=self.build_evaluator,
                options=self.setup.evaluation,
                stop=self.stop,
                heartbeat=self.heartbeat,
            )
        self.heartbeat.beat(TRAINING)
        return evaluation


def _distributed(model: Module, cfg: CfgNode) -> Module:
    device_ids = [comm.get_local_rank()] if cfg.MODEL.DEVICE == "cuda" else None
    # Many models have parameters that no loss uses, and DistributedDataParallel ends a training that does not look for
    # them. It also arranges its gradients anew after the first iteration of each start, and from three processes on
    # that changes the order in which they are added; looking for unused parameters prevents that too.
    distributed: Module = create_ddp_model(
        model, broadcast_buffers=False, device_ids=device_ids, find_unused_parameters=True
    )
    return distributed
