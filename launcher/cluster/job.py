"""The job that a request asks for, decided before anything is submitted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.config.asked import choice_of, count_of, time_limit_s
from launcher.config.batch import shared_batch, sharing_problem
from launcher.config.request import ClusterSettings, ContainerKind, DeviceChoice, RunRequest
from launcher.config.yaml_files import is_set
from launcher.errors import printable
from launcher.run.manifest import read_manifest
from launcher.run.paths import RunPaths
from launcher.run.progress import read_pace
from launcher.run.resume import numbered_checkpoints

LEAD_S = 120
"""Of the signal before the time limit: for the iteration under way and the save after it."""
SAVES = 2
"""That the signal leads by at least."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What earlier attempts of the run have measured; None where nobody has."""

    save_s: float | None
    """The longest save of the checkpoints that are there."""
    iteration_s: float | None


@dataclass(frozen=True, kw_only=True)
class Array:
    """The elements of a job that trains several runs."""

    runs: Mapping[int, Path]
    """The folder of each element's run, by the number of the element."""
    at_once: int
    """Elements that may run at a time; 0 leaves it to Slurm."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a batch script says."""

    name: str
    run: Path
    """The run's folder; of an array, that of the sweep, which has those of its runs in it."""
    array: Array | None
    """None for a job that trains one run."""
    working_directory: Path
    """In which it was submitted."""
    command: tuple[str, ...]
    """That starts the launcher."""
    python_path: tuple[str, ...]
    """Where a copy of the code lies; empty for the code as it is."""
    asked: ClusterSettings
    cpus: int
    time_s: float
    """0 leaves it to the partition."""
    lead_s: int


def measured_by(paths: RunPaths) -> Measured:
    """What the run's folder says about its speed."""
    manifests = [read_manifest(file) for file in numbered_checkpoints(paths).values()]
    saves = [one.save_s for one in manifests if one is not None and one.save_s is not None]
    pace = read_pace(paths.metrics)
    return Measured(save_s=max(saves, default=None), iteration_s=pace.iteration_s if pace else None)


def on_the_nodes(request: RunRequest) -> RunRequest:
    """The request with as many devices as the job asks for."""
    gpus = request.cluster.gpus_per_node
    if not gpus or request.device.count != 1 or is_set("device.count", request.typed.overrides):
        return request
    return replace(request, device=replace(request.device, count=gpus))


def processes_on_node(request: RunRequest) -> int:
    """Of the training."""
    return count_of(request.device) or request.cluster.gpus_per_node or 1


def cpus_of(request: RunRequest) -> int:
    """As asked, else one for each process and each of its DataLoader workers."""
    loaders = int(request.keys.get("DATALOADER.NUM_WORKERS", 0))
    return request.cluster.cpus_per_node or processes_on_node(request) * (1 + loaders)


def time_of(asked: ClusterSettings) -> float:
    """Seconds of the time limit; 0 where the partition decides."""
    return time_limit_s(asked.time) or 0.0


def lead_of(asked: ClusterSettings, measured: Measured) -> int:
    """By how many seconds the signal leads: as asked, else enough for two saves, and of a short time limit a tenth."""
    if asked.signal_s:
        return asked.signal_s
    limit_s = time_of(asked)
    return max(_least_lead(measured), min(LEAD_S, math.ceil(limit_s / 10)) if limit_s else LEAD_S)


def _least_lead(measured: Measured) -> int:
    return math.ceil(SAVES * (measured.save_s or 0.0))


def problems_with_job(request: RunRequest, measured: Measured) -> list[str]:
    """Everything that is wrong with the job, each with what to type; the request is as `on_the_nodes` gives it."""
    checks = (_devices, _batch, _time, _lead, _period, _texts, _options, _container)
    return [problem for check in checks for problem in check(request, measured)]


def _devices(request: RunRequest, measured: Measured) -> Iterator[str]:  # noqa: ARG001
    gpus, count = request.cluster.gpus_per_node, request.device.count
    choice = choice_of(request.device, request.keys)
    if gpus and choice is DeviceChoice.cpu:
        yield f"cluster.gpus_per_node={gpus} asks for GPUs, but device=cpu. Leave one of them out."
    if not gpus and choice is not DeviceChoice.cpu:
        yield (
            "cluster.gpus_per_node=0 asks for a job without GPUs. Ask for some, cluster.gpus_per_node=1, "
            "or train on the CPU, device=cpu."
        )
    if gpus and count not in ("all", gpus):
        yield f"cluster.gpus_per_node={gpus}, but device.count={count}. Leave device.count out."


def _batch(request: RunRequest, measured: Measured) -> Iterator[str]:  # noqa: ARG001
    asked = request.cluster
    processes = asked.gpus_per_node or (count_of(request.device) or 1 if asked.nodes > 1 else 1)
    problem = sharing_problem(shared_batch(request.keys, request.scaling), processes, nodes=asked.nodes)
    if problem and asked.gpus_per_node:
        yield f"cluster.gpus_per_node={processes}: {problem.replace('device.count', 'cluster.gpus_per_node')}"
    elif problem:
        yield f"cluster.nodes={asked.nodes}: {problem}"


def _time(request: RunRequest, measured: Measured) -> Iterator[str]:  # noqa: ARG001
    if time_limit_s(request.cluster.time) is None:
        yield (
            f"cluster.time={printable(str(request.cluster.time))} is not a time. "
            "Use minutes, H:MM:SS or D-HH:MM:SS, or 0 to leave it to the partition."
        )


def _lead(request: RunRequest, measured: Measured) -> Iterator[str]:
    asked, least = request.cluster, _least_lead(measured)
    if asked.signal_s and asked.signal_s < least:
        yield (
            f"cluster.signal_s={asked.signal_s}: a save of this run has taken {measured.save_s:.1f} s, and the signal "
            f"must lead by twice that. Set cluster.signal_s={least}, or leave it out."
        )
    lead, limit_s = lead_of(asked, measured), time_of(asked)
    if limit_s and lead >= limit_s:
        yield (
            f"cluster.time={asked.time}: the run would have to stop and save {lead} s before the end of a job of "
            f"{limit_s:.0f} s. Ask for more time, or set cluster.signal_s."
        )


def _period(request: RunRequest, measured: Measured) -> Iterator[str]:
    limit_s, minutes = time_of(request.cluster), request.checkpoint.every_minutes
    period = request.checkpoint.period or request.keys.get("SOLVER.CHECKPOINT_PERIOD", 0)
    between = [minutes * 60] if minutes else []
    if measured.iteration_s is not None and isinstance(period, int) and period > 0:
        between.append(measured.iteration_s * min(period, request.keys["SOLVER.MAX_ITER"]))
    if limit_s and between and min(between) > limit_s:
        yield (
            f"cluster.time={request.cluster.time} is shorter than one checkpoint period of this run, "
            f"{min(between) / 60:.1f} min: a job that is killed would leave nothing. "
            "Ask for more time, or save more often: checkpoint.every_minutes=10."
        )


def _texts(request: RunRequest, measured: Measured) -> Iterator[str]:  # noqa: ARG001
    asked = request.cluster
    texts = {name: getattr(asked, name) for name in ("partition", "account", "qos", "constraint")}
    lists = {f"{name}[{place}]": text for name in ("options", "preamble") for place, text in _numbered(asked, name)}
    container = {"container.image": asked.container.image, "container.mounts": "".join(asked.container.mounts)}
    for name, text in {**texts, **lists, **container}.items():
        if text != printable(text) or "\n" in text or "\t" in text:
            yield f"cluster.{name}={printable(text)!r} has a control character, which no batch script can have there."


def _numbered(asked: ClusterSettings, name: str) -> Iterator[tuple[int, str]]:
    return enumerate(getattr(asked, name))


def _options(request: RunRequest, measured: Measured) -> Iterator[str]:  # noqa: ARG001
    for text in request.cluster.options:
        name = text.partition("=")[0]
        if not (name.startswith("--") and name[2:].replace("-", "").isalnum()):
            yield f"cluster.options: {text!r} is no option of sbatch. Write it as --NAME=VALUE, such as --exclude=n3."
        elif name in OURS:
            yield f"cluster.options: {text!r} is what {OURS[name]}."


def _container(request: RunRequest, measured: Measured) -> Iterator[str]:  # noqa: ARG001
    asked = request.cluster.container
    has_kind = asked.kind is not ContainerKind.none
    if has_kind and not asked.image:
        yield (
            f"cluster.container.kind={asked.kind.value}, but no image is named: cluster.container.image=PATH, or leave "
            "the kind out."
        )
    if not has_kind and (asked.image or asked.mounts):
        yield (
            "cluster.container has an image or mounts, but nothing that starts it. Add "
            "cluster.container.kind=apptainer or cluster.container.kind=srun."
        )
    for folder in asked.mounts:
        if not folder.startswith("/") or set(",:") & set(folder):
            yield f"cluster.container.mounts: {folder!r} has to be an absolute path without a comma or a colon."


OURS = {
    "--nodes": "cluster.nodes sets",
    "--gpus-per-node": "cluster.gpus_per_node sets",
    "--gres": "cluster.gpus_per_node sets",
    "--cpus-per-task": "cluster.cpus_per_node sets",
    "--mem": "cluster.memory_gib sets",
    "--time": "cluster.time sets",
    "--partition": "cluster.partition sets",
    "--account": "cluster.account sets",
    "--qos": "cluster.qos sets",
    "--constraint": "cluster.constraint sets",
    "--signal": "cluster.signal_s sets",
    "--ntasks": "the launcher sets: one task for each node, which starts the processes of the training",
    "--ntasks-per-node": "the launcher sets: one task for each node, which starts the processes of the training",
    "--array": "would train the same run several times at once; a sweep is an array: hydra/launcher=slurm_array",
    "--chdir": "the launcher sets: the run's folder",
    "--output": "the launcher sets: a file in the run's folder",
    "--open-mode": "the launcher sets: append, so that a requeued job keeps what was written before",
    "--requeue": "the launcher sets: a stopped run is requeued",
    "--no-requeue": "would keep a stopped run from continuing; cancel the job with launcher cancel instead",
    "--wrap": "replaces the batch script",
}
"""Options that the script has already, or that would undo it."""
