"""From what was asked to what will happen: look, then decide. Changes nothing."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from launcher.config.keys import Keys
from launcher.config.own_code import look_at_own_code
from launcher.config.request import RunRequest, SplitRequest
from launcher.config.task import EvaluateRequest, PredictRequest, TrainRequest
from launcher.data.facts import DatasetFacts, inspect_dataset, registered_elsewhere
from launcher.data.index.store import index_store
from launcher.data.plan import DatasetPlan, data_environment, plan_dataset, without_data
from launcher.device.bfloat16 import Bfloat16Facts
from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Diagnosis
from launcher.device.facts import DeviceFacts
from launcher.device.look.bfloat16 import look_at_bfloat16
from launcher.device.look.probe import Deadlines, look_at_devices
from launcher.device.policy.cpu_precision import asks_for_amp, needs_measuring
from launcher.device.policy.plan import DevicePlan, plan_devices, wants_gpus
from launcher.errors import LauncherError
from launcher.launch.decide import make_run_plan
from launcher.launch.environment import worker_environment, write_empty_libraries
from launcher.launch.inference import make_inference_plan
from launcher.launch.session import Session
from launcher.run.folder import FolderFacts, Previous, look_at_folder
from launcher.run.plan import Lessons, RunPlan
from launcher.run.work import WorkFacts, classes_of, look_at_work

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A plan, and what was seen of the devices when it was made."""

    facts: DeviceFacts
    plan: RunPlan


@dataclass(frozen=True, kw_only=True)
class Since:
    """What has happened since the command was typed."""

    began: float
    """When the first attempt did, in seconds since the epoch."""
    lessons: Lessons | None = None
    """Of the attempts so far; None before the first has ended."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """GPUs (by UUID) that other launches took first, each with a clause that says who."""
    ours: frozenset[str] = frozenset()
    """GPUs that this launch has claimed."""


def prepare(request: RunRequest, session: Session, since: Since) -> Prepared:
    """The first plan of a launch.

    Raises:
        LauncherError: what is wrong with the data, the folder and the devices, all of it at once; the exit code is
            that of the first of these.
    """
    problems: list[LauncherError] = []
    data = _noting(problems, lambda: session.plan_data(request))
    facts = session.look(request)
    devices = _noting(problems, lambda: plan_own_devices(request, session, facts, since))
    seen = _noting(problems, lambda: _look_into(request))
    if data is None or devices is None or seen is None:
        raise _all_of(problems)
    facts, devices = _with_precision(request, session, since, facts, devices, seen.folder.previous)
    return Prepared(facts=facts, plan=_decide(request, session, devices, data, seen, since, facts))


def prepare_again(request: RunRequest, session: Session, data: DatasetPlan, since: Since) -> Prepared:
    """The plan of a further attempt: everything but the data is looked at again.

    Raises:
        LauncherError: as `prepare` does.
    """
    facts = session.look(request)
    devices, seen = plan_own_devices(request, session, facts, since), _look_into(request)
    facts, devices = _with_precision(request, session, since, facts, devices, seen.folder.previous)
    return Prepared(facts=facts, plan=_decide(request, session, devices, data, seen, since, facts))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a request points at on disk."""

    folder: FolderFacts
    work: WorkFacts | None
    """Of an evaluation or prediction; None for a training."""


def _look_into(request: RunRequest) -> Seen:
    task = request.task
    work = None if isinstance(task, TrainRequest) else look_at_work(request, task)
    return Seen(folder=look_at_folder(request), work=work)


def _decide(
    request: RunRequest,
    session: Session,
    devices: DevicePlan,
    data: DatasetPlan,
    seen: Seen,
    since: Since,
    facts: DeviceFacts,
) -> RunPlan:
    if seen.work is None or isinstance(request.task, TrainRequest):
        decide = partial(make_run_plan, request, meeting=session.look_at_meeting())
    else:
        decide = partial(make_inference_plan, request, request.task, work=seen.work)
    return decide(
        devices=devices,
        dataset=data,
        folder=seen.folder,
        lessons=since.lessons,
        began=since.began,
        job_ends=facts.job.ends,
    )


def _with_precision(
    request: RunRequest,
    session: Session,
    since: Since,
    facts: DeviceFacts,
    devices: DevicePlan,
    previous: Previous | None,
) -> tuple[DeviceFacts, DevicePlan]:
    """What was measured for mixed precision on the CPU, and the plan that follows; the same where none is asked for."""
    trains = isinstance(request.task, TrainRequest)
    if devices.kind != "cpu" or not trains or not asks_for_amp(request.keys):
        return facts, devices
    begun_in = None if request.resume == "never" else _begun_in(previous)
    if needs_measuring(request.keys, request.device.precision, begun_in=begun_in):
        facts = replace(facts, bfloat16=session.measure_bfloat16(request, devices))
    return facts, plan_own_devices(request, session, facts, since, begun_in=begun_in)


def _begun_in(previous: Previous | None) -> str | None:
    """The type in which the run's attempts on the CPU have met mixed precision that was asked for; None for none."""
    if previous is None or previous.kind != "cpu" or not asks_for_amp(Keys(previous.identity)):
        return None
    return previous.precision or ""


def plan_own_devices(
    request: RunRequest, session: Session, facts: DeviceFacts, since: Since, *, begun_in: str | None = None
) -> DevicePlan:
    """Those of this node.

    Raises:
        LauncherError: it has not what is asked for.
    """
    diagnosis = diagnose(facts)
    lessons = since.lessons or Lessons()
    if lessons.hide_driver:
        diagnosis = replace(diagnosis, driver_is_dangerous=True)
    claimed = {} if request.device.share else session.look_at_claims(_others(diagnosis, since.ours))
    avoid = {**claimed, **since.taken, **lessons.avoid_gpus}
    return plan_devices(
        request.device,
        request.keys,
        diagnosis,
        avoid=avoid,
        scaling=request.scaling,
        trains=isinstance(request.task, TrainRequest),
        bfloat16=facts.bfloat16,
        begun_in=begun_in,
    )


def _others(diagnosis: Diagnosis, ours: Collection[str]) -> list[str]:
    return [gpu.uuid for gpu in diagnosis.usable_gpus if gpu.uuid not in ours]


def _noting(problems: list[LauncherError], step: Callable[[], T]) -> T | None:
    try:
        return step()
    except LauncherError as error:
        problems.append(error)
        return None


def _all_of(problems: list[LauncherError]) -> LauncherError:
    first, *others = problems
    return type(first)("\n".join(map(str, problems))) if others else first


def plan_data(request: RunRequest, environ: Mapping[str, str]) -> DatasetPlan:
    """Look at the data sets that a request names, in the user's code too, and decide what to register.

    Raises:
        RequestError: the user's code cannot be imported.
        DataError: they are missing, unreadable or contradict the configuration; every problem is listed.
    """
    if isinstance(request.task, PredictRequest):
        return without_data(request)
    if isinstance(request.task, EvaluateRequest) and classes_of(request.task):
        # The run says what its classes are, and the worker compares them: nobody needs what it was trained on.
        request = replace(request, dataset=replace(request.dataset, train=SplitRequest()))
    return plan_dataset(request, look_at_data(request, environ))


def look_at_data(request: RunRequest, environ: Mapping[str, str]) -> DatasetFacts:
    """What is there of the data sets that a request names, in the user's code too.

    Raises:
        RequestError: the user's code cannot be imported.
    """
    announce = partial(print, file=sys.stderr)
    own_code = look_at_own_code(
        request.own_code,
        registered_elsewhere(request.dataset, request.keys),
        environ={**environ, **data_environment(request.dataset)},
        announce=announce,
    )
    indexes = index_store(request.dataset.index, environ, announce)
    return inspect_dataset(request.dataset, request.keys, own_code, indexes)


def measure_bfloat16(request: RunRequest, devices: DevicePlan, environ: Mapping[str, str]) -> Bfloat16Facts:
    """Look at what bfloat16 does to the request's model, in the surroundings that the plan's worker would have."""
    environ = {**environ, **data_environment(request.dataset)}
    with tempfile.TemporaryDirectory(prefix="launcher-libraries-") as folder:
        libraries = write_empty_libraries(Path(folder)) if devices.hide_driver else None
        return look_at_bfloat16(
            request.keys,
            request.own_code,
            deformable_by=devices.deformable_by,
            environ=worker_environment(devices, environ, libraries),
            announce=partial(print, file=sys.stderr),
        )


def look_for(request: RunRequest, environ: Mapping[str, str]) -> DeviceFacts:
    """Look at as much of this machine's devices as the request needs to know."""
    return look_at_devices(
        environ,
        full=False,
        try_gpus=wants_gpus(request.device, request.keys),
        backend="" if request.device.count == 1 else "nccl",
        deadlines=Deadlines(driver_s=request.device.patience_s),
    )
