"""What one attempt will do, decided from values before anything is touched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.config.adjustment import Adjustment, adjusted, look_up
from launcher.config.request import (
    EarlyStoppingSettings,
    EmaSettings,
    RunRequest,
)
from launcher.config.values import to_plain
from launcher.data.plan import DatasetPlan
from launcher.device.policy.plan import DevicePlan
from launcher.errors import RequestError
from launcher.launch.scaling import plan_scaling
from launcher.launch.time_limit import stop_at, time_limit_s
from launcher.run.changed import ChangedSetting, Effect, changed_settings
from launcher.run.folder import FolderFacts
from launcher.run.identity import identity_of
from launcher.run.outcome import EarlyStop, Ending
from launcher.run.plan import Lessons, RunPlan
from launcher.run.retention import problems_with_checkpoint_settings

SHOWN_DIFFERENCES = 8


def make_run_plan(
    request: RunRequest,
    *,
    devices: DevicePlan,
    dataset: DatasetPlan,
    folder: FolderFacts,
    lessons: Lessons | None = None,
    began: float = 0.0,
    job_ends: float | None = None,
) -> RunPlan:
    """Decide what this command does in its folder.

    `lessons` are those of this very command's earlier attempts; it `began`, and the job it is in ends, at these times,
    in seconds since the epoch.

    Raises:
        RequestError: the folder belongs to another configuration, `resume` cannot be followed, weights are missing or
            settings contradict each other; every reason is named at once.
    """
    identity = to_plain(identity_of(request, dataset.adjustments))
    goes_on = folder.stored_identity is not None and request.resume != "never"
    changed = changed_settings(folder.stored_identity or {}, identity, request.run.allow_changes) if goes_on else ()
    begun_with = (folder.begun_with if goes_on else None) or devices.num_processes
    problems = [
        *_problems_with_folder(folder, changed),
        *(_problems_with_content(request, folder, dataset) if goes_on else ()),
        *_problems_with_resume(request, folder),
        *_problems_with_solver(request),
        *_problems_with_average(request.ema),
        *_problems_with_early_stopping(request.early_stopping, adjusted(request.detectron2, dataset.adjustments)),
        *problems_with_checkpoint_settings(request.checkpoint),
    ]
    resume = None if request.resume == "never" else folder.checkpoints.newest_whole or folder.resume_file
    if folder.weights_missing and resume is None:
        problems.append(
            f"MODEL.WEIGHTS={look_up(request.detectron2, 'MODEL.WEIGHTS')}, but there is no such file. "
            'Give a path that exists, or MODEL.WEIGHTS=\\"\\" to start from random weights.'
        )
    if problems:
        raise RequestError("\n".join(problems))

    lessons = lessons or _still_valid(folder.lessons, request)
    adjustments = (*dataset.adjustments, *devices.adjustments)
    adjustments += tuple(_fewer_workers(adjusted(request.detectron2, adjustments), lessons))
    scaling = plan_scaling(
        request,
        num_processes=devices.num_processes,
        kind=devices.kind,
        learned_micro_batch=lessons.micro_batch,
        begun_with=begun_with,
    )
    adjustments += scaling.adjustments
    adjustments += tuple(_drawn_seed(request, folder))
    output_dir = Adjustment(setting="OUTPUT_DIR", asked=None, planned=folder.folder, reason="the run folder")
    keys = adjusted(request.detectron2, (*adjustments, output_dir))
    return RunPlan(
        folder=folder.folder,
        identity=identity,
        attempt=1 if request.resume == "never" else folder.attempts + 1,
        already_finished=_is_finished(request, folder, keys),
        sets_aside=request.resume == "never" and (folder.stored_identity is not None or folder.attempts > 0),
        resume=resume,
        damaged=() if request.resume == "never" else folder.checkpoints.damaged,
        devices=devices,
        splits=dataset.splits,
        environment=dataset.environment,
        detectron2=keys,
        config_extensions=request.config_extensions,
        logging=request.logging,
        adjustments=adjustments,
        notices=(*dataset.notices, *devices.notices, *scaling.notices, *_notices_of(request, folder, devices)),
        checkpoint=request.checkpoint,
        ema=request.ema,
        early_stopping=request.early_stopping,
        stopped_early=folder.last_outcome.stopped_early if folder.last_outcome is not None else None,
        max_bad=request.dataset.max_bad,
        train_checksum=dataset.train_checksum,
        may_reorder=bool(request.run.allow_changes) or (resume is not None and resume is folder.resume_file),
        begun_with=begun_with,
        changed=changed,
        stop_at=stop_at(began=began, limit_s=time_limit_s(request.run.time_limit) or 0.0, job_ends=job_ends),
        accumulate=scaling.accumulate,
        retries=request.run.retries,
        hang_minutes=request.run.hang_minutes,
        lessons=lessons,
    )


def _drawn_seed(request: RunRequest, folder: FolderFacts) -> list[Adjustment]:
    """Without a seed of the user's the run gets one and keeps it: what it does follows from it alone."""
    asked = look_up(request.detectron2, "SEED")
    if asked >= 0:
        return []
    if folder.seed is not None and request.resume != "never":
        return [Adjustment(setting="SEED", asked=asked, planned=folder.seed, reason="drawn when this run began")]
    reason = "drawn, so that this run can be continued and repeated"
    return [Adjustment(setting="SEED", asked=asked, planned=folder.drawn_seed, reason=reason)]


def _still_valid(lessons: Lessons, request: RunRequest) -> Lessons:
    """A number that is typed now is to be tried, whatever an earlier command learned."""
    return replace(lessons, micro_batch=None) if request.device.micro_batch > 0 else lessons


def _fewer_workers(keys: Mapping[str, Any], lessons: Lessons) -> list[Adjustment]:
    if lessons.num_workers is None:
        return []
    workers = look_up(keys, "DATALOADER.NUM_WORKERS")
    if workers <= lessons.num_workers:
        return []
    reason = "a data loader process, or the machine's memory, did not live with more"
    return [Adjustment(setting="DATALOADER.NUM_WORKERS", asked=workers, planned=lessons.num_workers, reason=reason)]


def _is_finished(request: RunRequest, folder: FolderFacts, keys: Mapping[str, Any]) -> bool:
    last = folder.last_outcome
    if request.resume == "never" or last is None or last.ending is not Ending.finished:
        return False
    if last.stopped_early is not None and _still_stops(last.stopped_early, request.early_stopping):
        return True
    return last.iterations is not None and last.iterations >= look_up(keys, "SOLVER.MAX_ITER")


def _still_stops(stop: EarlyStop, asked: EarlyStoppingSettings) -> bool:
    """Whether a training that stopped early would do so again; with more patience, or otherwise judged, it goes on."""
    return replace(asked, patience=stop.asked.patience) == stop.asked and asked.patience <= stop.evaluations


def _problems_with_folder(folder: FolderFacts, changed: Sequence[ChangedSetting]) -> list[str]:
    if folder.unwritable:
        return [f"The run folder is {folder.folder}, but {folder.unwritable}. Choose another with run.root=FOLDER."]
    refused = [one for one in changed if one.effect is Effect.refused]
    if not refused:
        return []
    listed = "\n".join(f"  {one.setting}: there {one.before}, now {one.now}" for one in refused[:SHOWN_DIFFERENCES])
    more = f"\n  and {len(refused) - SHOWN_DIFFERENCES} more" if len(refused) > SHOWN_DIFFERENCES else ""
    return [
        f"{folder.folder} belongs to another configuration:\n{listed}{more}\n"
        "Choose another folder with run.name=NAME, or start over there with resume=never (the old content is renamed, "
        f"not deleted). To go on all the same: run.allow_changes=[{','.join(one.setting for one in refused)}]."
    ]


def _problems_with_content(request: RunRequest, folder: FolderFacts, dataset: DatasetPlan) -> list[str]:
    key, before, now = "dataset.train.json", folder.train_checksum, dataset.train_checksum
    if not (before and now) or before == now or key in request.run.allow_changes:
        return []
    return [
        f"{folder.folder} was trained on other annotations: {key} has another content now. Put the old file back, "
        f"choose another folder with run.name=NAME, or go on all the same with run.allow_changes=[{key}]."
    ]


def _problems_with_resume(request: RunRequest, folder: FolderFacts) -> list[str]:
    found = folder.checkpoints
    if folder.resume_file_problem:
        return [
            f"resume={request.resume}, but {folder.resume_file_problem}. Choose auto, must, never or a checkpoint file."
        ]
    if request.resume == "must" and found.newest_whole is None:
        damaged = f" ({len(found.damaged)} damaged)" if found.damaged else ""
        return [
            f"resume=must, but {folder.folder} holds no whole checkpoint{damaged}. "
            "Start from the beginning with resume=auto, or name a checkpoint with resume=PATH."
        ]
    if request.resume == "auto" and found.damaged and found.newest_whole is None:
        names = ", ".join(Path(damaged.path).name for damaged in found.damaged)
        return [
            f"Every checkpoint in {folder.folder} is damaged ({names}). "
            "Start over with resume=never (the old content is renamed, not deleted), or name one with resume=PATH."
        ]
    return []


def _problems_with_solver(request: RunRequest) -> list[str]:
    solver = request.detectron2["SOLVER"]
    problems = []
    if solver["MAX_ITER"] < 1:
        problems.append(f"SOLVER.MAX_ITER={solver['MAX_ITER']}, but a training has at least one iteration.")
    if solver["IMS_PER_BATCH"] < 1:
        problems.append(f"SOLVER.IMS_PER_BATCH={solver['IMS_PER_BATCH']}, but a batch has at least one image.")
    if request.logging.images < 0:
        problems.append(f"logging.images={request.logging.images}, but it counts pictures: 0 or more.")
    if request.dataset.max_bad < 0:
        problems.append(f"dataset.max_bad={request.dataset.max_bad}, but it counts images: 0 or more.")
    if time_limit_s(request.run.time_limit) is None:
        problems.append(
            f"run.time_limit={request.run.time_limit} is no time. Type minutes, H:MM:SS or D-HH:MM:SS, as for Slurm."
        )
    if request.run.retries < 0:
        problems.append(f"run.retries={request.run.retries}, but it counts attempts: 0 or more.")
    if not 0 <= request.run.hang_minutes < math.inf:
        problems.append(f"run.hang_minutes={request.run.hang_minutes}, but it is a time: 0 (for ever) or more.")
    if request.logging.period < 1:
        problems.append(f"logging.period={request.logging.period}, but it counts iterations: 1 or more.")
    return problems


def _problems_with_average(asked: EmaSettings) -> list[str]:
    if 0 <= asked.decay < 1:
        return []
    return [f"ema.decay={asked.decay}, but it is a share: 0 for no average, or below 1, such as 0.9999."]


def _problems_with_early_stopping(asked: EarlyStoppingSettings, keys: Mapping[str, Any]) -> list[str]:
    problems = []
    if asked.patience < 1:
        problems.append(f"early_stopping.patience={asked.patience}, but it counts evaluations: 1 or more.")
    if not 0 <= asked.min_delta < math.inf:
        problems.append(f"early_stopping.min_delta={asked.min_delta}, but it is a difference: 0 or more.")
    if not asked.metric:
        return problems
    where = f"early_stopping.metric={asked.metric}, but"
    if not look_up(keys, "DATASETS.TEST"):
        problems.append(f"{where} there is nothing to evaluate on. Name it with DATASETS.TEST=[NAME].")
    if look_up(keys, "TEST.EVAL_PERIOD") <= 0:
        problems.append(f"{where} nothing is evaluated before the end. Say how often with TEST.EVAL_PERIOD=ITERATIONS.")
    return problems


def _notices_of(request: RunRequest, folder: FolderFacts, devices: DevicePlan) -> list[str]:
    notices = [
        f"{Path(damaged.path).name} {damaged.problem}: skipped"
        for damaged in folder.checkpoints.damaged
        if folder.checkpoints.newest_whole is not None and request.resume != "never"
    ]
    if folder.checkpoints.newest_whole is not None and request.resume != "never":
        notices += _notices_of_devices(folder, devices)
    if folder.resume_file is not None and folder.checkpoints.newest_whole is not None:
        notices.append(f"resume={request.resume} was the start of this run; it goes on from its own checkpoint")
    return notices


def _notices_of_devices(folder: FolderFacts, devices: DevicePlan) -> list[str]:
    """What another number of processes or another precision does to a run that goes on."""
    notices = []
    if folder.num_processes not in (None, devices.num_processes):
        notices.append(
            f"{folder.num_processes} processes before, {devices.num_processes} now: batches, their order and the "
            "learning rate stay; sums are added in another order, so numbers differ in their last digits"
        )
    if folder.precision not in (None, devices.precision):
        names = [precision or "full precision" for precision in (folder.precision, devices.precision)]
        notices.append(f"computed in {names[0]} before, in {names[1]} now: numbers differ slightly")
    return notices
