"""The loss on validation images, beside the training loss. Looks only: a training with it ends as one without."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils import comm

from launcher.run.heartbeat import EVALUATION
from launcher.train.evaluation.untouched import giving_losses
from launcher.train.output.scalars import VALIDATION
from launcher.train.samples.mapped import Mapper
from launcher.train.samples.readable import readable
from launcher.train.samples.samplers import read_records
from launcher.train.samples.spread import spread
from launcher.train.seeds import seed_iteration
from launcher.train.steps import Steps
from launcher.train.trainer import Trainer

logger = logging.getLogger(__name__)

Sums = dict[str, float]
IMAGES = "images"


class ValidationLoss:
    """The losses of the evaluated weights on the same images of the first data set of DATASETS.TEST, every time.

    Images are resized as for the evaluation and not augmented, and sampling within the model is seeded.
    """

    def __init__(self, trainer: Trainer, count: int) -> None:
        self._trainer = trainer
        self._count = count

    def __call__(self) -> Mapping[str, float]:
        """The means over the images, by name; none where they cannot be computed. Every rank must call this."""
        try:
            own = self._sums()
        except Exception:  # data without annotations, or a model that gives no losses: no reason to end a training
            logger.warning("The loss on validation images could not be computed", exc_info=True)
            own = {}
        of_ranks: list[Sums] = comm.all_gather(own)
        images = sum(sums.get(IMAGES, 0) for sums in of_ranks)
        names = [name for name in of_ranks[0] if name != IMAGES]
        if not images or not all(of_ranks):
            return {}
        return {f"{VALIDATION}{name}": sum(sums.get(name, 0.0) for sums in of_ranks) / images for name in names}

    def _sums(self) -> Sums:
        """Of this rank's images, each loss added up."""
        trainer, sums = self._trainer, Sums()
        steps: Steps = trainer._trainer  # detectron2's name for what does the iterations
        mapper = trainer.build_mapper(_as_evaluated(trainer.cfg), True)
        with trainer.evaluated_weights(), giving_losses(trainer.model):
            for index, batch in enumerate(_batches(self._records(), mapper, self._batch_size())):
                trainer.heartbeat.beat(EVALUATION)
                seed_iteration(trainer.cfg.SEED, index, trainer.setup.rank)
                losses = steps.losses_of(batch)
                for name, value in {"total_loss": sum(losses.values()), **losses, IMAGES: 1}.items():
                    sums[name] = sums.get(name, 0.0) + value * len(batch)
        return sums

    def _records(self) -> Sequence[dict[str, Any]]:
        """As many on each rank: in some models the ranks ask each other about their losses."""
        cfg, setup = self._trainer.cfg, self._trainer.setup
        chosen = spread(read_records(cfg, (cfg.DATASETS.TEST[0],), training=False), self._count)
        each = -(-len(chosen) // setup.num_processes)
        return list(
            itertools.islice(itertools.cycle(chosen), setup.rank, each * setup.num_processes, setup.num_processes)
        )

    def _batch_size(self) -> int:
        setup = self._trainer.setup
        return max(1, self._trainer.cfg.SOLVER.IMS_PER_BATCH // setup.num_processes // setup.micro_batches)


def _as_evaluated(cfg: CfgNode) -> CfgNode:
    """The configuration with which a training mapper keeps annotations and augments nothing."""
    plain = cfg.clone()
    plain.defrost()
    plain.INPUT.MIN_SIZE_TRAIN, plain.INPUT.MAX_SIZE_TRAIN = (cfg.INPUT.MIN_SIZE_TEST,), cfg.INPUT.MAX_SIZE_TEST
    plain.INPUT.MIN_SIZE_TRAIN_SAMPLING = "choice"
    plain.INPUT.RANDOM_FLIP = "none"
    plain.INPUT.CROP.ENABLED = False
    plain.freeze()
    return plain


def _batches(records: Sequence[dict[str, Any]], mapper: Mapper, size: int) -> Iterator[list[Any]]:
    samples = readable(
        lambda record: mapper(copy.deepcopy(record)), records, otherwise="is left out of the validation loss"
    )
    while batch := list(itertools.islice(samples, size)):
        yield batch
