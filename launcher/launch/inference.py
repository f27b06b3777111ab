"""What one attempt at an evaluation or prediction will do, decided from values before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.request import DEFAULT_OUTPUT_DIR, Precision, RunRequest
from launcher.config.task import EvaluateRequest, InferenceRequest, PredictRequest
from launcher.config.unused import notices_of_unused
from launcher.config.values import to_plain
from launcher.data.plan import DatasetPlan
from launcher.device.policy.plan import DevicePlan
from launcher.errors import RequestError
from launcher.launch.decide import fewer_workers, lessons_before, limits_of, listed_briefly
from launcher.run.changed import is_of_evaluation
from launcher.run.codes import NONE
from launcher.run.folder import FolderFacts
from launcher.run.identity import differences, identity_of, is_within
from launcher.run.outcome import Ending, Outcome
from launcher.run.plan import (
    ONE_NODE,
    Continue,
    Evaluate,
    Finished,
    Lessons,
    Model,
    New,
    Predict,
    Report,
    RunPlan,
    Start,
    Task,
    Train,
)
from launcher.run.work import WorkFacts

WEIGHTS = "weights"
"""The part of the identity that says which file MODEL.WEIGHTS was."""
ANNOTATIONS = "annotations"
"""The part that says which files the annotations were."""
SHOWN_DIFFERENCES = 4


def for_inference(request: RunRequest) -> RunRequest:
    """The request with what a training set for itself alone taken back.

    A model that was trained in mixed precision is evaluated in full precision, as its training did; only a
    `device.precision` that is asked for changes that.
    """
    planned = {
        "SOLVER.AMP.ENABLED": request.device.precision is not Precision.auto,
        "SEED": max(0, request.keys["SEED"]),  # nothing is drawn but what the weights replace
    }
    changed = (
        Adjustment(setting=name, asked=request.keys[name], planned=value, reason="") for name, value in planned.items()
    )
    return replace(request, keys=request.keys.with_(changed))


def evaluation_instead(request: RunRequest, plan: RunPlan) -> RunRequest | None:
    """Where a finished run is asked for with other settings of its evaluation: the request to evaluate it with them.

    Its results would otherwise be shown as if they were those of the new settings.
    """
    is_finished = isinstance(plan.task, Train) and isinstance(plan.start, Finished)
    is_other = any(is_of_evaluation(change.setting) for change in plan.report.changed)
    if not is_finished or not is_other or not plan.keys["DATASETS.TEST"]:
        return None
    task = EvaluateRequest(run=plan.folder, checkpoint="", out="")
    planned = {"MODEL.WEIGHTS": str(plan.paths.final_weights), "OUTPUT_DIR": DEFAULT_OUTPUT_DIR}
    ours = (
        Adjustment(setting=name, asked=request.keys[name], planned=value, reason="") for name, value in planned.items()
    )
    return for_inference(
        replace(
            request,
            typed=replace(request.typed, task=task),
            run=replace(request.run, name=""),
            # The number of classes follows from the training's data, which an evaluation does not read.
            keys=request.keys.with_((*plan.data.adjustments, *ours)),
        )
    )


def make_inference_plan(
    request: RunRequest,
    task: InferenceRequest,
    *,
    devices: DevicePlan,
    dataset: DatasetPlan,
    folder: FolderFacts,
    work: WorkFacts,
    lessons: Lessons | None = None,
    began: float = 0.0,
    job_ends: float | None = None,
) -> RunPlan:
    """Decide what this command does in its folder.

    Raises:
        RequestError: the folder belongs to something else, or there are no weights.
    """
    identity = {**to_plain(identity_of(request)), WEIGHTS: dict(work.weights), ANNOTATIONS: work.annotations}
    before = folder.previous.identity if folder.previous and request.resume != "never" else None
    if problems := [*_problems(request, folder, before, identity), *_nothing_to_evaluate(request, dataset)]:
        raise RequestError("\n".join(problems))
    lessons = lessons or lessons_before(folder.previous, request)
    adjustments = (
        *dataset.adjustments,
        *devices.adjustments,
        *fewer_workers(request.keys.with_((*dataset.adjustments, *devices.adjustments)), lessons),
    )
    where = Adjustment(setting="OUTPUT_DIR", asked=None, planned=folder.folder, reason="the folder for results")
    others = [] if before is None else [file for file in (WEIGHTS, ANNOTATIONS) if before.get(file) != identity[file]]
    is_other, notices = bool(others), _notices(request, folder, others)
    return RunPlan(
        folder=folder.folder,
        attempt=1 if request.resume == "never" or is_other else folder.attempts + 1,
        identity=identity,
        start=_start_of(request, folder, work, is_other=is_other),
        data=dataset,
        devices=devices,
        nodes=ONE_NODE,
        keys=request.keys.with_((*adjustments, where)),
        own_code=request.own_code,
        task=_task_of(request, task, work, lessons),
        limits=limits_of(request, began, job_ends),
        lessons=lessons,
        report=Report(
            adjustments=adjustments,
            warnings=(),
            notices=(*dataset.notices, *devices.notices, *notices),
            changed=(),
        ),
    )


def _task_of(request: RunRequest, task: InferenceRequest, work: WorkFacts, lessons: Lessons) -> Task:
    asked = request.device.micro_batch or 1
    model = Model(
        averaged=request.ema.decay != 0,
        batch=min(asked, lessons.micro_batch or asked),
        classes=work.classes,
        annotations=request.dataset.train.json,
    )
    if not isinstance(task, PredictRequest):
        images, quiet = request.logging.images, request.logging.quiet
        return Evaluate(model=model, evaluation=request.evaluation, images=images, quiet=quiet)
    return Predict(
        model=model,
        files=work.files,
        threshold=task.threshold,
        draw=task.draw,
        images_json=task.images_json,
        quiet=request.logging.quiet,
    )


def _start_of(request: RunRequest, folder: FolderFacts, work: WorkFacts, *, is_other: bool) -> Start:
    if request.resume == "never" or is_other:
        return New(archives=folder.attempts > 0 or bool(folder.foreign))
    if _is_finished(folder.last_outcome, work) and not work.left:
        return Finished(stopped_early=None)
    return Continue(done=work.done) if work.done else New(archives=False)


def _is_finished(last: Outcome | None, work: WorkFacts) -> bool:
    """And its results are of as many images as are asked for now: a folder may have lost some."""
    if last is None or last.ending is not Ending.finished or last.code != NONE:
        return False
    return not work.files or last.work.iterations == len(work.files)


def _problems(
    request: RunRequest, folder: FolderFacts, before: Mapping[str, Any] | None, identity: Mapping[str, Any]
) -> Iterator[str]:
    if folder.unwritable:
        yield f"The results would be in {folder.folder}, but {folder.unwritable}. Choose another folder: --out DIR."
    if folder.foreign:
        yield (
            f"{folder.folder} holds files that are not of an evaluation or prediction "
            f"({listed_briefly(folder.foreign)}). Choose an empty folder, or one that is not there: --out DIR."
        )
    if folder.previous is not None and (whose := _whose(folder.previous.identity, identity)):
        yield f"{folder.folder} belongs to {whose}. Choose another folder: --out DIR."
    elif before is not None:
        yield from _problems_with_other(folder, before, identity)
    if folder.weights_missing:
        yield (
            f"MODEL.WEIGHTS={request.keys['MODEL.WEIGHTS']}, but there is no such file. "
            "Give a path that exists: MODEL.WEIGHTS=PATH."
        )


def _whose(before: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """Whose folder it is, where it is of another kind; empty where it is of this one."""
    if before.get("task") == identity["task"]:
        return ""
    return {"evaluate": "an evaluation", "predict": "predictions"}.get(str(before.get("task")), "a training run")


def _nothing_to_evaluate(request: RunRequest, dataset: DatasetPlan) -> Iterator[str]:
    keys = request.keys.with_(dataset.adjustments)
    if isinstance(request.task, EvaluateRequest) and not keys["DATASETS.TEST"]:
        yield (
            "There is nothing to evaluate on: DATASETS.TEST is empty. Name annotated images with "
            "dataset.val.json=FILE dataset.val.images=FOLDER, or a registered data set with DATASETS.TEST=[NAME]."
        )


def _problems_with_other(folder: FolderFacts, before: Mapping[str, Any], identity: Mapping[str, Any]) -> Iterator[str]:
    changed = [one for one in differences(before, identity) if not is_within(one[0], (WEIGHTS, ANNOTATIONS))]
    if changed:
        names = ", ".join(f"{name} ({old} then, {new} now)" for name, old, new in changed[:SHOWN_DIFFERENCES])
        more = f" and {len(changed) - SHOWN_DIFFERENCES} more" if len(changed) > SHOWN_DIFFERENCES else ""
        yield (
            f"{folder.folder} holds the results of another request: {names}{more}. Choose another folder with "
            "--out DIR, or start over there with resume=never, which renames what is there."
        )


def _notices(request: RunRequest, folder: FolderFacts, others: Sequence[str]) -> Iterator[str]:
    yield from notices_of_unused(request)
    if others:
        changed = " and ".join(others)
        yield f"the {changed} are other ones than those of the results in {folder.folder}, which starts over"
