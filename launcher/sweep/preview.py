"""What the jobs of a sweep would do, job by job, without starting one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from launcher.config.request import RunRequest, Typed
from launcher.config.values import to_plain
from launcher.errors import LauncherError
from launcher.launch.prepare import Since, prepare
from launcher.launch.session import Session
from launcher.pool.ledger import Known, Run, Wait
from launcher.run.attempts import device_text
from launcher.run.identity import fingerprint_of
from launcher.run.plan import Finished, Resume, RunPlan, Start
from launcher.show.table import table
from launcher.sweep.problems import group_problems
from launcher.sweep.values import Job, Sweep

T = TypeVar("T")
OF_DATA = ("SOLVER", "SEED")
"""Keys that the data does not follow from."""


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """What one job would do."""

    number: int
    folder: str
    overrides: tuple[str, ...]
    does: str
    """`starts`, `resumes from 200`, `finished`, `not repeated`, `runs already`, or where it is in a queue."""
    device: str
    batch: int
    learning_rate: float
    iterations: int


def preview(
    sweep: Sweep,
    requests: Mapping[str, RunRequest],
    decisions: Mapping[str, Run | Known | Wait],
    session: Session,
) -> list[JobPlan]:
    """The plans of the jobs with these requests, by the folders' names.

    Raises:
        LauncherError: `launcher train` would refuse some of them; every problem is named.
    """
    shared = sharing(session)

    def plan_one(job: Job) -> JobPlan:
        here = replace(requests[job.folder], typed=_typed_in(sweep, job, requests[job.folder]))
        return _plan_of(job, prepare(here, shared, Since(began=session.now())).plan, decisions[job.folder])

    return plan_each([job for job in sweep.jobs if job.folder in requests], plan_one)


def plan_each(jobs: Sequence[Job], plan_one: Callable[[Job], JobPlan]) -> list[JobPlan]:
    """The plans of all jobs; raises LauncherError with the problems of all that have some."""
    plans: list[JobPlan] = []
    errors: list[tuple[str, LauncherError]] = []
    for job in jobs:
        try:
            plans.append(plan_one(job))
        except LauncherError as error:
            errors.append((job.folder, error))
    if errors:
        lines = group_problems([(name, str(error).splitlines()) for name, error in errors], of=len(jobs))
        together = type(errors[0][1])("\n".join(lines))
        together.exit_code = errors[0][1].exit_code
        raise together
    return plans


def sharing(session: Session) -> Session:
    """The same, looking once at devices and data that several jobs share."""
    return replace(
        session,
        look=once(session.look, lambda request: repr((request.device, request.keys.get("MODEL.DEVICE", "")))),
        plan_data=once(session.plan_data, data_key),
    )


def data_key(request: RunRequest) -> str:
    """Equal for requests whose data is the same."""
    keys = {name: value for name, value in request.keys.nested().items() if name not in OF_DATA}
    return fingerprint_of({"keys": keys, "dataset": to_plain(request.dataset), "code": to_plain(request.own_code)})


def preview_table(sweep: Sweep, plans: Sequence[JobPlan], *, is_drawn: bool) -> str:
    """One line per job; a seed that was drawn for this table alone is an example."""
    head = ["job", "folder", "overrides", "", "device", "batch", "learning rate", "iterations"]
    rows = [
        [
            str(one.number + 1),
            one.folder,
            " ".join(one.overrides) or "(none)",
            one.does,
            one.device,
            str(one.batch),
            f"{one.learning_rate:g}",
            str(one.iterations),
        ]
        for one in plans
    ]
    note = ", for example: the first start draws it" if is_drawn else ""
    seed = "SEED is swept" if sweep.seed is None else f"SEED={sweep.seed}{note}"
    return f"sweep: {sweep.folder}\n{seed}\n\n{table([head, *rows])}"


def preview_json(sweep: Sweep, plans: Sequence[JobPlan]) -> str:
    """The same for a program."""
    head = {"folder": str(sweep.folder), "swept": list(sweep.swept), "seed": sweep.seed, "metric": sweep.metric}
    return json.dumps({**head, "jobs": [asdict(one) for one in plans]}, indent=2)


def _typed_in(sweep: Sweep, job: Job, request: RunRequest) -> Typed:
    return replace(request.typed, folder=str(sweep.folder_of(job)))


def once(look: Callable[[RunRequest], T], key: Callable[[RunRequest], str]) -> Callable[[RunRequest], T]:
    """The same, which looks once for all requests of one key."""
    seen: dict[str, T] = {}

    def look_once(request: RunRequest) -> T:
        name = key(request)
        if name not in seen:
            seen[name] = look(request)
        return seen[name]

    return look_once


def _plan_of(job: Job, plan: RunPlan, decision: Run | Known | Wait) -> JobPlan:
    return JobPlan(
        number=job.number,
        folder=job.folder,
        overrides=job.overrides,
        does=does(plan.start, decision),
        device=device_text(plan.devices.kind, plan.devices.num_processes),
        batch=plan.keys["SOLVER.IMS_PER_BATCH"],
        learning_rate=plan.keys["SOLVER.BASE_LR"],
        iterations=plan.keys["SOLVER.MAX_ITER"],
    )


def does(start: Start, decision: Run | Known | Wait) -> str:
    """What becomes of a job that would start so."""
    if isinstance(decision, Wait):
        return "runs already"
    if isinstance(start, Finished):
        return "finished"
    if isinstance(decision, Known):
        return "not repeated"
    return f"resumes from {start.point.next_iteration or 0}" if isinstance(start, Resume) else "starts"
