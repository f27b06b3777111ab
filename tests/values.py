"""Complete values for tests, which say only what matters to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from launcher.config.keys import Keys
from launcher.config.request import (
    CheckpointSettings,
    EarlyStoppingSettings,
    EmaSettings,
    EvaluationSettings,
    LoggingSettings,
    OwnCode,
    RunRequest,
    Scaling,
    Typed,
)
from launcher.config.schema import OWN_NODES
from launcher.data.plan import DatasetPlan
from launcher.device.policy.plan import DevicePlan
from launcher.run.outcome import Ending, Fault, Outcome, Work
from launcher.run.plan import ONE_NODE, Lessons, Limits, New, Report, RunPlan, Train
from launcher.show.run import SHOWN_IN_PLAN

TYPED = Typed(experiment="", overrides=(), in_sweep=False, swept=())
CPU = DevicePlan(
    kind="cpu",
    asked="auto",
    reason="no NVIDIA GPU in this machine",
    gpu_uuids=(),
    num_processes=1,
    environment={"CUDA_VISIBLE_DEVICES": ""},
    hide_driver=False,
    adjustments=(),
)
TWO_GPUS = replace(CPU, kind="cuda", reason="two GPUs", gpu_uuids=("GPU-a", "GPU-b"), num_processes=2)
NO_DATA = DatasetPlan(
    splits=(),
    indexes={},
    environment={},
    adjustments=(),
    notices=(),
    train_checksum=0,
    val_checksum=0,
    contents=(),
    own_classes={},
)


def a_request(keys: Mapping[str, Any] | Keys, **settings: Any) -> RunRequest:
    """A request with the defaults of every setting, but for these."""
    defaults: dict[str, Any] = {
        "typed": TYPED,
        "resume": "auto",
        "scaling": Scaling.keep_batch,
        "own_code": OwnCode(),
        **{name: kind() for name, kind in OWN_NODES.items()},
    }
    return RunRequest(**{**defaults, **settings}, keys=keys if isinstance(keys, Keys) else Keys(keys))


def a_plan(keys: Mapping[str, Any], **parts: Any) -> RunPlan:
    """A plan for a new run on the CPU, but for these parts."""
    defaults: dict[str, Any] = {
        "folder": "",
        "attempt": 1,
        "identity": {},
        "start": New(archives=False),
        "data": NO_DATA,
        "devices": CPU,
        "nodes": ONE_NODE,
        "own_code": OwnCode(),
        "task": TRAINING,
        "limits": Limits(stop_at=0.0, retries=3, hang_minutes=30.0),
        "lessons": Lessons(),
        "report": Report(adjustments=(), warnings=(), notices=(), changed=()),
    }
    return RunPlan(**{**defaults, **parts}, keys=Keys(keys))


def keys_shown_in_plan() -> dict[str, Any]:
    """Each with the value 10, but for the names of data sets."""
    nodes: dict[str, Any] = {}
    for name in SHOWN_IN_PLAN:
        node, _, key = name.rpartition(".")
        (nodes.setdefault(node, {}) if node else nodes)[key] = ["fruit"] if node == "DATASETS" else 10
    return nodes


TRAINING = Train(
    logging=LoggingSettings(),
    checkpoint=CheckpointSettings(),
    ema=EmaSettings(),
    early_stopping=EarlyStoppingSettings(),
    evaluation=EvaluationSettings(),
    max_bad=0,
    accumulate=1,
    begun_with=1,
)


def finished_after(iterations: int, **work: Any) -> Outcome:
    """A training that came to its end."""
    done = replace(Work.of(iterations), **work)
    return Outcome(ending=Ending.finished, exit_code=0, code="", explanation="", seconds=1.0, work=done, fault=None)


def failed_with(code: str, *, exit_code: int = 1, iterations: int | None = None, **fault: Any) -> Outcome:
    """A training that failed with that code, while training if nothing else is said."""
    where = replace(Fault(rank=0, stage="training", cuda_code=None, traceback=""), **fault)
    return Outcome(
        ending=Ending.failed,
        exit_code=exit_code,
        code=code,
        explanation="it failed",
        seconds=1.0,
        work=Work.of(iterations),
        fault=where,
    )


def changed_keys(keys: Keys, **values: Any) -> Keys:
    """Those keys with other values, or with more of them; two underscores stand for a dot."""
    changed = {name.replace("__", "."): value for name, value in values.items()}
    return Keys.of_leaves({**dict(keys.leaves()), **changed}.items())
