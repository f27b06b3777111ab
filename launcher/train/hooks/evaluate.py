"""Evaluates, and makes the statistics of batch normalisation precise for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from detectron2.engine import HookBase, hooks
from detectron2.utils import comm

from launcher.train.evaluation.evaluate import Evaluation
from launcher.train.samples.loader import TrainLoader
from launcher.train.state import Evaluated, TrainingState
from launcher.train.steps import DivergedError


class SteadyPreciseBN(hooks.PreciseBN):
    """Takes the same images every time, so that it does not matter how often it has run in this attempt."""

    def update_stats(self) -> None:
        if isinstance(self._data_loader, TrainLoader):
            self._data_loader.skip_to(0)
            self._data_iter = None
        try:
            super().update_stats()
        except FloatingPointError as error:  # detectron2 looks at the proposals
            raise DivergedError(f"precise batch normalisation: {error}".rstrip(".")) from error


class Evaluate(HookBase):
    """Evaluates every `period` iterations and after the last one, and catches up with what an earlier attempt missed.

    The metrics belong to the iteration after which they were due, whenever they came about.
    """

    def __init__(
        self,
        period: int,
        state: TrainingState,
        evaluate: Callable[[], Evaluation],
        losses: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`losses` gives further numbers about the model that was evaluated."""
        self.period = period
        self.state = state
        self.evaluate = evaluate
        self.losses = losses

    def before_train(self) -> None:
        evaluated = self.state.evaluated
        lacks_last = self.state.at_last_iteration and evaluated.after < self.state.last_iteration
        if evaluated.missing or lacks_last:
            self._evaluate()

    def after_step(self) -> None:
        by_period = self.period > 0 and self.state.iterations_done % self.period == 0
        if by_period or self.state.at_last_iteration:
            self._evaluate()

    def _evaluate(self) -> None:
        try:
            evaluation = self.evaluate()
        except Exception:
            self.state.miss_evaluation()
            raise
        self.state.unreadable = {**self.state.unreadable, **evaluation.unreadable}
        if evaluation.stopped:
            self.state.miss_evaluation()
            self.state.stopping = True
        else:
            self._take(evaluation)
        # Evaluation takes its time on rank 0; the others wait here and not in the next iteration's collectives.
        comm.synchronize()

    def _take(self, evaluation: Evaluation) -> None:
        after = self.state.last_iteration
        self.state.evaluated = Evaluated(after=after, metrics=evaluation.metrics, results=evaluation.results)
        numbers = {**evaluation.metrics, **self.losses()}
        self.trainer.storage.put_scalars(**numbers, smoothing_hint=False, cur_iter=after)
