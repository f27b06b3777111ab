"""What one attempt will do, decided from values before anything is touched."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.asked import time_limit_s
from launcher.config.keys import Keys
from launcher.config.request import EarlyStoppingSettings, RunRequest
from launcher.config.unused import notices_of_unused
from launcher.config.values import to_plain
from launcher.data.plan import DatasetPlan
from launcher.device.policy.plan import DevicePlan
from launcher.errors import RequestError
from launcher.launch.meeting import MeetingFacts, plan_nodes
from launcher.launch.scaling import ScalingPlan, plan_scaling
from launcher.launch.schedule import schedule_warnings
from launcher.launch.time_limit import stop_at
from launcher.run.changed import ChangedSetting, Effect, changed_settings
from launcher.run.folder import FolderFacts, Previous
from launcher.run.identity import fingerprint_of, identity_of
from launcher.run.outcome import EarlyStop, Ending, Outcome
from launcher.run.plan import Finished, Lessons, Limits, New, Report, Resume, RunPlan, Start, Train
from launcher.run.resume import ResumePoint

SHOWN_DIFFERENCES = 8
SHOWN_FILES = 4
VAL_JSON = "dataset.val.json"


def make_run_plan(
    request: RunRequest,
    *,
    devices: DevicePlan,
    dataset: DatasetPlan,
    folder: FolderFacts,
    lessons: Lessons | None = None,
    began: float = 0.0,
    job_ends: float | None = None,
    meeting: MeetingFacts | None = None,
) -> RunPlan:
    """Decide what this command does in its folder, on one node or on those that have a `meeting`.

    `lessons` are those of this very command's earlier attempts; it `began`, and the job it is in ends, at these times,
    in seconds since the epoch.

    Raises:
        RequestError: the folder belongs to another configuration, `resume` cannot be followed or weights are missing;
            every reason is named at once.
    """
    identity = to_plain(identity_of(request, dataset.adjustments))
    before = _before(request, folder)
    changed = _accepted_changes(request, dataset, folder, identity)
    attempt = 1 if request.resume == "never" else folder.attempts + 1
    nodes = plan_nodes(meeting, attempt)
    num_processes = nodes.count * devices.num_processes
    begun_with = (before.begun_with if before else None) or num_processes
    lessons = lessons or lessons_before(folder.previous, request)
    scaling = plan_scaling(
        request,
        num_processes=num_processes,
        kind=devices.kind,
        learned_micro_batch=lessons.micro_batch,
        begun_with=begun_with,
    )
    adjustments = (
        *_adjustments(request, dataset, devices, lessons, scaling),
        *_drawn_seed(request, folder.drawn_seed, before),
    )
    keys = request.keys.with_((*adjustments, _output_dir(folder)))
    notices = (
        *(*dataset.notices, *devices.notices, *(meeting.notices if meeting else ()), *scaling.notices),
        *_notices_of(request, folder, devices, num_processes),
    )
    warnings = schedule_warnings(request, keys, dataset)
    return RunPlan(
        folder=folder.folder,
        attempt=attempt,
        identity=identity,
        start=_start_of(request, folder, keys),
        data=dataset,
        devices=devices,
        nodes=nodes,
        keys=keys,
        own_code=request.own_code,
        task=_training(request, scaling.accumulate, begun_with),
        limits=limits_of(request, began, job_ends),
        lessons=lessons,
        report=Report(adjustments=adjustments, warnings=warnings, notices=notices, changed=changed),
    )


def _output_dir(folder: FolderFacts) -> Adjustment:
    return Adjustment(setting="OUTPUT_DIR", asked=None, planned=folder.folder, reason="the run folder")


def _adjustments(
    request: RunRequest,
    dataset: DatasetPlan,
    devices: DevicePlan,
    lessons: Lessons,
    scaling: ScalingPlan,
) -> tuple[Adjustment, ...]:
    return (
        *dataset.adjustments,
        *devices.adjustments,
        *fewer_workers(request.keys.with_((*dataset.adjustments, *devices.adjustments)), lessons),
        *scaling.adjustments,
    )


def start_on_any_device(request: RunRequest, *, dataset: DatasetPlan, folder: FolderFacts) -> Start:
    """What this command would do in its folder, whatever devices it gets.

    Raises:
        RequestError: as `make_run_plan` does.
    """
    _accepted_changes(request, dataset, folder, to_plain(identity_of(request, dataset.adjustments)))
    return _start_of(request, folder, request.keys.with_(dataset.adjustments))


def _before(request: RunRequest, folder: FolderFacts) -> Previous | None:
    """The attempt that this one follows; None where it starts over."""
    return None if request.resume == "never" else folder.previous


def _accepted_changes(
    request: RunRequest, dataset: DatasetPlan, folder: FolderFacts, identity: Mapping[str, Any]
) -> tuple[ChangedSetting, ...]:
    """What differs from the attempt before, where that and all else lets this one begin.

    Raises:
        RequestError: it does not; every reason is named at once.
    """
    before = _before(request, folder)
    changed = _changed_since(before, identity, request, dataset) if before else ()
    if problems := list(_problems(request, folder, dataset, before, changed)):
        raise RequestError("\n".join(problems))
    return changed


def _changed_since(
    before: Previous, identity: Mapping[str, Any], request: RunRequest, dataset: DatasetPlan
) -> tuple[ChangedSetting, ...]:
    changed = changed_settings(before.identity, identity, request.run.allow_changes)
    has_other_content = before.val_checksum and dataset.val_checksum not in (0, before.val_checksum)
    if not has_other_content or any(one.setting == VAL_JSON for one in changed):
        return changed
    name = Path(request.dataset.val.json).name
    content = ChangedSetting(
        setting=VAL_JSON, before=f"{name}, as it was", now=f"{name}, edited", effect=Effect.applies
    )
    return (*changed, content)


def _start_of(request: RunRequest, folder: FolderFacts, keys: Keys) -> Start:
    if request.resume == "never":
        return New(archives=folder.previous is not None or folder.attempts > 0 or bool(folder.foreign))
    if (finished := _finished(request, folder.last_outcome, keys)) is not None:
        return finished
    point = folder.checkpoints.newest_valid or folder.resume_file
    if point is None:
        return New(archives=False)
    is_own = point is folder.checkpoints.newest_valid
    _refuse_fewer(point, keys["SOLVER.MAX_ITER"], folder.folder if is_own else "")
    may_reorder = bool(request.run.allow_changes) or point is folder.resume_file
    return Resume(point=point, damaged=folder.checkpoints.damaged, may_reorder=may_reorder)


def _refuse_fewer(point: ResumePoint, total: int, run: str) -> None:
    """Raises RequestError where more iterations are done than are asked for, by this `run` or, if empty, by another."""
    done = point.next_iteration or 0
    if done > total:
        how = f"launcher resume {shlex.quote(run)} SOLVER.MAX_ITER={done}" if run else f"SOLVER.MAX_ITER={done}"
        raise RequestError(
            f"SOLVER.MAX_ITER={total}, but {done} iterations are done in {point.path}. To end there: {how}; give it "
            "more to continue. For another run, choose another folder with run.name=NAME."
        )


def _finished(request: RunRequest, last: Outcome | None, keys: Keys) -> Finished | None:
    if last is not None and last.ending is Ending.pruned and request.resume == "auto":
        return Finished(stopped_early=None, pruned=last.explanation)
    if last is None or last.ending is not Ending.finished:
        return None
    stop = last.work.stopped_early
    if stop is not None and _still_stops(stop, request.early_stopping):
        return Finished(stopped_early=stop)
    done = last.work.iterations
    return Finished(stopped_early=None) if done is not None and done >= keys["SOLVER.MAX_ITER"] else None


def _still_stops(stop: EarlyStop, asked: EarlyStoppingSettings) -> bool:
    """Whether a training that stopped early would do so again; more patience or other criteria let it resume."""
    return replace(asked, patience=stop.asked.patience) == stop.asked and asked.patience <= stop.evaluations


def _training(request: RunRequest, accumulate: int, begun_with: int) -> Train:
    return Train(
        logging=request.logging,
        checkpoint=request.checkpoint,
        ema=request.ema,
        early_stopping=request.early_stopping,
        evaluation=request.evaluation,
        max_bad=request.dataset.max_bad,
        accumulate=accumulate,
        begun_with=begun_with,
    )


def limits_of(request: RunRequest, began: float, job_ends: float | None) -> Limits:
    """When this attempt stops or gives up."""
    limit_s = time_limit_s(request.run.time_limit) or 0.0
    return Limits(
        stop_at=stop_at(began=began, limit_s=limit_s, job_ends=job_ends),
        retries=request.run.retries,
        hang_minutes=request.run.hang_minutes,
    )


def _problems(
    request: RunRequest,
    folder: FolderFacts,
    dataset: DatasetPlan,
    before: Previous | None,
    changed: Sequence[ChangedSetting],
) -> Iterator[str]:
    yield from _problems_with_folder(folder, changed)
    if before is not None:
        yield from _problems_with_content(request, folder, before.train_checksum, dataset.train_checksum)
    if folder.foreign and request.resume != "never":
        yield _explain_foreign(folder)
    yield from _problems_with_resume(request, folder)
    if request.resume != "never":
        own = to_plain(identity_of(request, dataset.adjustments))
        yield from _problems_with_origin(folder, {*folder.fingerprints, fingerprint_of(own)})
    starts_with_weights = request.resume == "never" or not (folder.checkpoints.newest_valid or folder.resume_file)
    if folder.weights_missing and starts_with_weights:
        yield (
            f"MODEL.WEIGHTS={request.keys['MODEL.WEIGHTS']}, but there is no such file. "
            'Give a path that exists, or MODEL.WEIGHTS=\\"\\" to start from random weights.'
        )


def _drawn_seed(request: RunRequest, drawn: int, before: Previous | None) -> list[Adjustment]:
    """Without a seed of the user's the run gets one and keeps it: all its randomness follows from it."""
    asked = request.keys["SEED"]
    if asked >= 0:
        return []
    if before is not None and before.seed is not None:
        return [Adjustment(setting="SEED", asked=asked, planned=before.seed, reason="drawn when this run started")]
    reason = "drawn, so that this run can be resumed and reproduced"
    return [Adjustment(setting="SEED", asked=asked, planned=drawn, reason=reason)]


def lessons_before(previous: Previous | None, request: RunRequest) -> Lessons:
    """Those of earlier commands, also for a run that starts over: memory is what it was.

    A micro-batch that is set now is tried, whatever was learned about it.
    """
    lessons = previous.lessons if previous else Lessons()
    return replace(lessons, micro_batch=None) if request.device.micro_batch > 0 else lessons


def fewer_workers(keys: Keys, lessons: Lessons) -> list[Adjustment]:
    """The data loader processes that earlier attempts have left."""
    if lessons.num_workers is None:
        return []
    workers = keys["DATALOADER.NUM_WORKERS"]
    if workers <= lessons.num_workers:
        return []
    reason = "reduced after a DataLoader worker was killed or host memory ran out"
    return [Adjustment(setting="DATALOADER.NUM_WORKERS", asked=workers, planned=lessons.num_workers, reason=reason)]


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
        f"not deleted). To resume all the same: run.allow_changes=[{','.join(one.setting for one in refused)}]."
    ]


def _explain_foreign(folder: FolderFacts) -> str:
    there = f"{folder.folder} holds a training that this launcher did not start ({listed_briefly(folder.foreign)})"
    newest = folder.foreign[-1]
    use = ""
    if newest.endswith(".pth"):
        path = Path(folder.folder, newest)
        use = f" To train from its weights: MODEL.WEIGHTS={path}; to continue it in another folder: resume={path}."
    return (
        f"{there}; training there would overwrite it. Choose another folder with OUTPUT_DIR=FOLDER or run.name=NAME, "
        f"or rename this one and start over there with resume=never.{use}"
    )


def listed_briefly(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:SHOWN_FILES])
    return f"{shown} and {len(names) - SHOWN_FILES} more" if len(names) > SHOWN_FILES else shown


def _problems_with_content(request: RunRequest, folder: FolderFacts, before: int, now: int) -> list[str]:
    key = "dataset.train.json"
    if not (before and now) or before == now or key in request.run.allow_changes:
        return []
    return [
        f"{folder.folder} was trained on other annotations: the content of {key} has changed. Restore the old file, "
        f"choose another folder with run.name=NAME, or resume all the same with run.allow_changes=[{key}]."
    ]


def _problems_with_resume(request: RunRequest, folder: FolderFacts) -> list[str]:
    found = folder.checkpoints
    if folder.resume_file_problem:
        return [
            f"resume={request.resume}, but {folder.resume_file_problem}. Choose auto, must, never or a checkpoint file."
        ]
    if request.resume == "must" and found.newest_valid is None:
        damaged = f" ({len(found.damaged)} damaged)" if found.damaged else ""
        return [
            f"resume=must, but {folder.folder} holds no valid checkpoint{damaged}. "
            "Start from the beginning with resume=auto, or name a checkpoint with resume=PATH."
        ]
    if request.resume == "auto" and found.damaged and found.newest_valid is None:
        names = ", ".join(Path(damaged.path).name for damaged in found.damaged)
        return [
            f"Every checkpoint in {folder.folder} is damaged ({names}). "
            "Start over with resume=never (the old content is renamed, not deleted), or name one with resume=PATH."
        ]
    return []


def _problems_with_origin(folder: FolderFacts, known: Collection[str]) -> Iterator[str]:
    """A checkpoint that another run wrote would bring its own schedule and order, whatever is asked here."""
    point = folder.checkpoints.newest_valid
    if point is None or point.manifest is None:
        return
    if (origin := point.manifest.milestone.config_fingerprint) and origin not in known:
        yield (
            f"{point.path} was written by a run of another configuration, as the manifest beside it says. "
            "Move it out of this folder. To continue from it all the same, take another folder: "
            "run.name=NAME resume=PATH; to begin with its weights only: run.name=NAME MODEL.WEIGHTS=PATH."
        )


def _notices_of(request: RunRequest, folder: FolderFacts, devices: DevicePlan, num_processes: int) -> Iterator[str]:
    yield from notices_of_unused(request)
    if folder.checkpoints.newest_valid is None or request.resume == "never":
        return
    taken = Path(folder.checkpoints.newest_valid.path).name
    for damaged in folder.checkpoints.damaged:
        yield f"{Path(damaged.path).name} {damaged.problem}: skipped, the run resumes from {taken}, the next older one"
    if folder.previous is not None:
        yield from _notices_of_devices(folder.previous, devices, num_processes)
    if folder.resume_file is not None:
        yield f"this run started from resume={request.resume}; it resumes from its own newest checkpoint"


def _notices_of_devices(before: Previous, devices: DevicePlan, num_processes: int) -> Iterator[str]:
    """What another number of processes or another precision does to a run that resumes."""
    if before.num_processes not in (None, num_processes):
        yield (
            f"{before.num_processes} processes before, {num_processes} now: batches, their order and the "
            "learning rate stay; the order of summation changes, so results differ in the last digits"
        )
    if before.precision not in (None, devices.precision):
        names = [precision or "full precision" for precision in (before.precision, devices.precision)]
        yield f"ran in {names[0]} before, in {names[1]} now: results differ slightly"
