"""An evaluation or prediction as a person reads it: how it starts, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from launcher.config.values import read_json_if_valid, to_plain
from launcher.run.evaluation import EvaluationSummary
from launcher.run.journal import entries_in
from launcher.run.outcome import Ending, Outcome, headlines
from launcher.run.paths import RunPaths
from launcher.run.plan import Continue, Evaluate, Finished, Predict, RunPlan


def start_line(plan: RunPlan, task: Evaluate | Predict) -> str:
    """What will be done, and with which weights."""
    weights = plan.keys["MODEL.WEIGHTS"]
    source = f"with {_short(weights)}" if weights else "with RANDOM weights (MODEL.WEIGHTS is empty)"
    match plan.start:
        case Finished():
            return f"start: nothing to do, {_all_of(plan, task)} done. resume=never starts over."
        case Continue(done=done):
            return f"start: {_images(done)} done, continues with the rest, {source}"
    return f"start: {_what(plan, task)} {source}"


def outcome_lines(outcome: Outcome, plan: RunPlan, task: Evaluate | Predict) -> Iterator[str]:
    """The result, and where it is."""
    minutes, seconds = divmod(round(outcome.seconds), 60)
    why = f" ({outcome.explanation})" if outcome.explanation and not outcome.code else ""
    yield f"{outcome.ending.value}: {_done(outcome, plan, task)}, {minutes} min {seconds} s{why}"
    if metrics := headlines(outcome.work.metrics).items():
        yield "  " + "   ".join(f"{name} {'none' if value is None else f'{value:.1f}'}" for name, value in metrics)
    if isinstance(task, Predict):
        yield from _found(outcome, task)
    yield f"  results   {_short(plan.folder)}"
    if outcome.ending is not Ending.finished:
        yield "  next      run the same command again: it continues with what is left"


def prediction_json(folder: Path, outcome: Outcome, files: Collection[str]) -> dict[str, Any]:
    """For programs: every image of those that were asked for with what was found, and how it ended."""
    kept = {value["file"]: value for _, value in entries_in(RunPaths(folder).results)}
    images = {file: kept[file] for file in files if file in kept}
    return {
        "folder": str(folder),
        "exit_code": outcome.exit_code,
        "code": outcome.code,
        "explanation": outcome.explanation,
        "images": [
            {"file": file, "seconds": value["seconds"], **value["found"]} for file, value in sorted(images.items())
        ],
    }


def evaluation_json(folder: Path, outcome: Outcome) -> dict[str, Any]:
    """For programs: what came of each data set, as its summary.json has it, and how it ended."""
    summaries = (read_json_if_valid(file, EvaluationSummary) for file in RunPaths(folder).summaries())
    return {
        "folder": str(folder),
        "exit_code": outcome.exit_code,
        "code": outcome.code,
        "explanation": outcome.explanation,
        "metrics": dict(outcome.work.metrics),
        "data_sets": {one.dataset: to_plain(one) for one in summaries if one is not None},
    }


def _found(outcome: Outcome, task: Predict) -> Iterator[str]:
    metrics = outcome.work.metrics
    objects, best = metrics.get("predict/objects", 0), metrics.get("predict/best_score")
    yield f"  objects   {objects} with a score from {task.threshold:g}"
    if not objects and best is not None:
        yield f"            the best score is {best:.2f}: --threshold {max(0.0, best - 0.05):.2f} counts and draws it"
    if without := metrics.get("predict/without_id"):
        yield f"  ids       {_images(without)} not in {task.images_json}: their names are their ids"


def _what(plan: RunPlan, task: Evaluate | Predict) -> str:
    if isinstance(task, Predict):
        return f"prediction on {_images(len(task.files))}"
    return f"evaluation on {', '.join(plan.keys['DATASETS.TEST']) or 'nothing'}"


def _done(outcome: Outcome, plan: RunPlan, task: Evaluate | Predict) -> str:
    done = outcome.work.iterations
    if isinstance(task, Predict) and done is not None and done < len(task.files):
        return f"{done} of {_images(len(task.files))}"
    return _what(plan, task)


def _all_of(plan: RunPlan, task: Evaluate | Predict) -> str:
    if isinstance(task, Predict):
        return f"{_images(len(task.files))} {'is' if len(task.files) == 1 else 'are'}"
    return f"the {_what(plan, task)} is"


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _short(path: str) -> str:
    """Relative to the current folder where it lies below it."""
    here = str(Path.cwd()) + os.sep
    return path.removeprefix(here)
