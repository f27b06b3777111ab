"""The one place that knows the file names of a run folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

RESULTS = "results"
ATTEMPT_NAME = re.compile("[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class AttemptPaths:
    """Files of one start of a run: `<run>/attempts/<number>/`."""

    folder: Path

    @property
    def facts(self) -> Path:
        return self.folder / "facts.json"

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    def plan_of(self, node: int) -> Path:
        """That of another node than the first beside it."""
        return self.folder / f"plan.node{node}.json" if node else self.plan

    def facts_of(self, node: int) -> Path:
        return self.folder / f"facts.node{node}.json" if node else self.facts

    @property
    def started(self) -> Path:
        """Where and on what it began, in a few hundred bytes: a list of a thousand runs has no time for plans."""
        return self.folder / "started.json"

    @property
    def provenance(self) -> Path:
        """Command, packages, commit and diff."""
        return self.folder / "provenance.json"

    @property
    def outcome(self) -> Path:
        return self.folder / "outcome.json"

    @property
    def result(self) -> Path:
        """How rank 0 says that it ended; the launcher makes the outcome of it."""
        return self.folder / "result.json"

    def failure(self, rank: int) -> Path:
        return self.folder / f"failure.rank{rank}.json"

    def failures(self) -> list[Path]:
        return sorted(self.folder.glob("failure.rank*.json"))

    def log(self, rank: int) -> Path:
        return self.folder / ("log.txt" if rank == 0 else f"log.rank{rank}.txt")

    @property
    def stop_note(self) -> Path:
        """Exists once the ranks of a multi-process run are asked to stop."""
        return self.folder / "stop"

    @property
    def pruned(self) -> Path:
        """Why a search expects nothing of this attempt any more; it writes that before it asks the run to stop."""
        return self.folder / "pruned.json"

    @property
    def heartbeat(self) -> Path:
        """The worker's stage and progress."""
        return self.folder / "heartbeat"

    def stacks(self, rank: int) -> Path:
        """Where every thread stood when a crash, or the launcher after a hang, ended this rank."""
        return self.folder / ("stacks.txt" if rank == 0 else f"stacks.rank{rank}.txt")

    @property
    def empty_libraries(self) -> Path:
        return self.folder / "no-driver"


@dataclass(frozen=True)
class RunPaths:
    """Files of one run: `<run.root>/<experiment>/<name>/`."""

    folder: Path

    @property
    def request(self) -> Path:
        return self.folder / "request.yaml"

    @property
    def submission(self) -> Path:
        """The scheduler's job that is to train this run."""
        return self.folder / "submission.json"

    @property
    def job_script(self) -> Path:
        """The batch script of that job; what belongs to it lies beside it."""
        return self.folder / "cluster" / "job.sh"

    @property
    def job_code(self) -> Path:
        """Of which code the job was submitted."""
        return self.folder / "cluster" / "code.json"

    @property
    def job_snapshot(self) -> Path:
        """A copy of that code."""
        return self.folder / "cluster" / "code"

    @property
    def first_provenance(self) -> Path:
        """Of runs that were made before every attempt had its own."""
        return self.folder / "provenance.json"

    @property
    def config(self) -> Path:
        """detectron2's configuration as trained, where detectron2's own tools look for it."""
        return self.folder / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def final_weights(self) -> Path:
        return self.checkpoints / "model_final.pth"

    @property
    def best_weights(self) -> Path:
        return self.checkpoints / "model_best.pth"

    @property
    def final_average(self) -> Path:
        """The averaged weights of the last checkpoint, as a model of their own."""
        return self.checkpoints / "model_final_ema.pth"

    @property
    def best_average(self) -> Path:
        return self.checkpoints / "model_best_ema.pth"

    @property
    def best(self) -> Path:
        """Which checkpoint `model_best.pth` is, and why."""
        return self.checkpoints / "best.json"

    @property
    def fence(self) -> Path:
        """Which attempt may write here; see `launcher.run.fence`."""
        return self.folder / "fence"

    def checkpoint(self, iteration: int) -> Path:
        """The state after `iteration` (counted from 0), named as detectron2 does."""
        return self.checkpoints / f"model_{iteration:07d}.pth"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"

    def summaries(self) -> list[Path]:
        """Of the data sets that were evaluated last, each `launcher.run.evaluation.EvaluationSummary`."""
        return sorted(self.evaluation.glob("*/summary.json"))

    @property
    def unfinished_evaluation(self) -> Path:
        """What an evaluation in a training has done so far; see `launcher.run.journal`."""
        return self.evaluation / ".unfinished"

    @property
    def results(self) -> Path:
        """What an evaluation or prediction has done so far; see `launcher.run.journal`."""
        return self.folder / RESULTS

    @property
    def classes(self) -> Path:
        """The names of the classes that the model was trained on."""
        return self.folder / "classes.json"

    @property
    def sample_inputs(self) -> Path:
        return self.folder / "inputs.png"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.png"

    @property
    def nodes(self) -> Path:
        """What the launchers of several nodes say to each other; see `launcher.launch.board`."""
        return self.folder / ".nodes"

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    def attempt(self, number: int) -> AttemptPaths:
        return AttemptPaths(self.folder / "attempts" / str(number))

    def attempt_numbers(self) -> list[int]:
        try:
            names = os.listdir(self.folder / "attempts")
        except OSError:
            return []
        return sorted(int(name) for name in names if ATTEMPT_NAME.fullmatch(name))
