"""What a training's schedule means for the data that it trains on, where that can hardly be meant. Decides only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.config.asked import listed
from launcher.config.chosen_model import is_model_chosen
from launcher.config.keys import Keys
from launcher.config.readers import SCHEDULER
from launcher.config.request import RunRequest
from launcher.data.plan import DatasetPlan
from launcher.run.length import epochs_of, epochs_text, num_trained_on
from launcher.run.plan import PlanWarning

_MOST_EPOCHS = 400
"""detectron2's own longest recipe; its model zoo has 111 at the most."""
_PLENTY = 100
"""Epochs that are suggested in place of too many."""
_FEW_ITERATIONS = 1000
"""So many are never too many, however few images there are."""
_TRIAL = 100
"""Iterations up to which nobody trains in earnest: whether everything works is all that is asked."""
_READS_STEPS = "WarmupMultiStepLR"


def schedule_warnings(request: RunRequest, keys: Keys, dataset: DatasetPlan) -> tuple[PlanWarning, ...]:
    """Of a training with the planned `keys`."""
    num_images = num_trained_on(keys, dataset)
    found = [*_warnings_of_model(request)]
    if not request.own_code.trainer:  # which may build another schedule
        found += _warnings_of_schedule(keys)
    if num_images:
        found += _warnings_of_data(keys, num_images)
    return tuple(found)


def _warnings_of_model(request: RunRequest) -> Iterator[PlanWarning]:
    if not is_model_chosen(request):
        yield PlanWarning(
            code="plan.default_model",
            text="no model is chosen, so detectron2's default is trained: a Faster R-CNN R50-C4 from random weights. "
            "Choose one, for example model=COCO-Detection/faster_rcnn_R_50_FPN_3x",
        )


def _warnings_of_schedule(keys: Keys) -> Iterator[PlanWarning]:
    total, warm_up = keys["SOLVER.MAX_ITER"], keys.get("SOLVER.WARMUP_ITERS", 0)
    if total <= _TRIAL:
        return
    if warm_up >= total and keys.get("SOLVER.WARMUP_FACTOR", 1) != 1:
        yield PlanWarning(
            code="plan.long_warm_up",
            text=f"the learning rate is still warming up when the training ends (SOLVER.WARMUP_ITERS={warm_up}, "
            f"SOLVER.MAX_ITER={total}). Set SOLVER.WARMUP_ITERS={max(1, total // 10)}",
        )
    steps = keys.get("SOLVER.STEPS", ())
    behind = [step for step in steps if step >= total]
    if behind and keys.get(SCHEDULER, "") == _READS_STEPS:
        yield PlanWarning(
            code="plan.late_steps",
            text=f"the learning rate is not lowered at SOLVER.STEPS={listed(behind)}, which lie behind "
            f"SOLVER.MAX_ITER={total}. Set SOLVER.STEPS={listed(_late(total))}, or [] to keep the rate",
        )


def _late(total: int) -> list[int]:
    return [int(0.7 * total), int(0.9 * total)]


def _warnings_of_data(keys: Keys, num_images: int) -> Iterator[PlanWarning]:
    total, batch, epochs = keys["SOLVER.MAX_ITER"], keys["SOLVER.IMS_PER_BATCH"], epochs_of(keys, num_images)
    if epochs > _MOST_EPOCHS and total > _FEW_ITERATIONS:
        fewer = max(_FEW_ITERATIONS, -(-_PLENTY * num_images // batch))
        yield PlanWarning(
            code="plan.many_epochs",
            text=f"{total:,} iterations of {batch} images are {epochs:,.0f} epochs of {num_images:,} images. Set "
            f"SOLVER.MAX_ITER={fewer}{_in_proportion(keys, fewer)} for {epochs_text(fewer * batch / num_images)}",
        )
    if batch > num_images:
        yield PlanWarning(
            code="plan.large_batch",
            text=f"a batch has {batch} images and the training data {num_images}, so each has some of them twice. Set "
            f"SOLVER.IMS_PER_BATCH={num_images} or less, and SOLVER.BASE_LR in the same proportion",
        )


def _in_proportion(keys: Keys, total: int) -> str:
    """The settings that have to follow a shorter training."""
    steps: Sequence[int] = keys["SOLVER.STEPS"]
    text = ""
    if keys[SCHEDULER] == _READS_STEPS and steps:
        text += f" SOLVER.STEPS={listed([round(step * total / keys['SOLVER.MAX_ITER']) for step in steps])}"
    if keys["SOLVER.WARMUP_ITERS"] > total // 2:
        text += f" SOLVER.WARMUP_ITERS={total // 10}"
    return text
