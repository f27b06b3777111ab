"""The worker process: reads a plan, starts its ranks, trains, and writes down how it ended.

Rank is decided here, once, by giving rank 0 more writers and hooks.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from launcher.config.values import read_json, write_json
from launcher.errors import ExitCode
from launcher.files import write_text
from launcher.run.fence import Fence, take_fence
from launcher.run.heartbeat import ENDING, SMOKE, TRAINING, Heartbeat
from launcher.run.outcome import (
    COULD_NOT_WRITE,
    RANK_KILLED,
    Work,
    WorkerFailure,
    WorkerResult,
    code_of_signal,
    explain_signal,
)
from launcher.run.paths import AttemptPaths
from launcher.run.plan import RunPlan
from launcher.train.output.logs import log_to, take_over_torch_logs
from launcher.train.stop import STOP


def work(plan_file: Path, *, raise_errors: bool = False) -> int:
    """Train as the plan says and return the exit status: 0 when a result was written.

    `raise_errors` lets a single process's exception through, for debuggers.
    """
    plan = read_json(plan_file, RunPlan)
    if plan.devices.num_processes == 1:
        return train_rank(plan_file, 0, raise_errors=raise_errors)
    attempt = plan.attempt_paths
    if STOP.asked:
        return 1
    STOP.note_signals(attempt.stop_note)
    log_to(attempt.log(0), console=False)
    return _launch_ranks(plan_file, plan.devices.num_processes, attempt)


def _launch_ranks(plan_file: Path, num_processes: int, attempt: AttemptPaths) -> int:
    # Ranks import torch before our code can tell Python where warnings go.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    from detectron2.engine import launch
    from torch.multiprocessing import ProcessExitedException

    take_over_torch_logs()
    try:
        launch(_train_spawned_rank, num_processes, dist_url="auto", args=(str(plan_file),))
    except ProcessExitedException as error:
        if error.signal_name is not None:
            _note_killed_rank(attempt, error.error_index, error.signal_name)
        return 1  # otherwise that rank wrote why
    return 0


def _note_killed_rank(attempt: AttemptPaths, rank: int, signal_name: str) -> None:
    failure = WorkerFailure(
        kind=RANK_KILLED,
        message=explain_signal(signal.Signals[signal_name], f"rank {rank}"),
        understood=True,
        exit_code=int(ExitCode.training_failed),
        traceback="",
        code=code_of_signal(signal.Signals[signal_name]),
        signal=signal.Signals[signal_name],
        rank=rank,
    )
    if not attempt.failure(rank).exists():  # what it wrote itself says more
        write_json(attempt.failure(rank), failure)


def _train_spawned_rank(plan_file: str) -> None:
    import torch.distributed
    from detectron2.utils import comm

    plan = read_json(Path(plan_file), RunPlan)
    STOP.note_signals()
    STOP.look_for(plan.attempt_paths.stop_note)
    status = train_rank(Path(plan_file), comm.get_rank())
    if status != 0:
        # Not sys.exit: the other ranks wait in a collective that this one will never join, and so would its clean-up.
        sys.stdout.flush()
        os._exit(status)
    comm.synchronize()
    torch.distributed.destroy_process_group()


def train_rank(plan_file: Path, rank: int, *, raise_errors: bool = False) -> int:
    """One rank's training; an exception becomes a failure file and status 1."""
    plan = read_json(plan_file, RunPlan)
    attempt = plan.attempt_paths
    log_to(attempt.log(rank), console=rank == 0)
    heartbeat = Heartbeat(attempt.heartbeat if rank == 0 else None)
    try:
        with _stacks_into(attempt.stacks(rank)):
            result = _train(plan, rank, heartbeat)
    except Exception as error:
        could_say_why = _note_failure(attempt, rank, error)
        if raise_errors:
            raise
        return 1 if could_say_why else COULD_NOT_WRITE
    if rank == 0:
        write_json(attempt.result, result)
        heartbeat.beat(ENDING)
    return 0


def _note_failure(attempt: AttemptPaths, rank: int, error: Exception) -> bool:
    """Write down what failed; False where that cannot be written."""
    from launcher.train.failures import explain

    failure = replace(explain(error), rank=rank)
    try:
        write_json(attempt.failure(rank), failure)
    except OSError:  # a full disk: then the console and the exit status are the only places left
        print(failure.message if failure.understood else failure.traceback, file=sys.stderr)
        return False
    return True


@contextlib.contextmanager
def _stacks_into(file: Path) -> Iterator[None]:
    """Where the threads stand when a signal such as SIGSEGV ends us; nothing is left behind when none does."""
    with open(file, "w") as stacks:
        faulthandler.enable(stacks)
        try:
            yield
        finally:
            faulthandler.disable()
            file.unlink()


def _train(plan: RunPlan, rank: int, heartbeat: Heartbeat) -> WorkerResult:
    heartbeat.beat("importing torch and detectron2")
    STOP.at = plan.limits.stop_at
    from launcher.train.checkpoints.safe_load import read_proposals_safely
    from launcher.train.compat.cfg_node import to_cfg_node
    from launcher.train.compat.smoke import compute_on_cpu
    from launcher.train.evaluation.evaluators import check_test_sets
    from launcher.train.hooks import chosen as hooks
    from launcher.train.samples.register import register_datasets
    from launcher.train.trainer import Trainer

    cfg = to_cfg_node(plan.keys, plan.training.config_extensions)
    cfg.freeze()
    if plan.devices.deformable_by == "torchvision":
        from launcher.train.compat.deformable import use_torchvision_deformable

        use_torchvision_deformable()
    register_datasets(plan.data.splits)
    read_proposals_safely()
    _prepare_process(cfg, plan)
    if plan.devices.kind == "cpu":
        heartbeat.beat(SMOKE)
        compute_on_cpu()
    heartbeat.beat("building model and data loader")
    check_test_sets(cfg)
    trainer = Trainer(cfg, plan, rank=rank, stop=STOP, heartbeat=heartbeat)
    # Before loading: hooks carry state of their own, the learning rate schedule's among it.
    trainer.register_hooks(hooks.every_rank(trainer, plan))
    # Before loading: from here on no earlier attempt replaces or removes what is being read.
    fence = take_fence(trainer.paths, plan.attempt) if rank == 0 else None
    heartbeat.beat("loading weights")
    trainer.continue_from(plan.resume)
    heartbeat.beat(TRAINING, trainer.iterations_done)
    if fence is not None:
        _equip(trainer, plan, fence)
    trainer.train()
    return WorkerResult(
        finished=trainer.finished,
        stopped_by="the time limit" if STOP.is_late() and not STOP.asked else "",
        work=Work(
            iterations=trainer.iterations_done,
            metrics={key: value if math.isfinite(value) else None for key, value in trainer.latest_metrics.items()},
            stopped_early=trainer.stopped_early,
            bad_images=trainer.bad_images,
            bad_test_images=len(trainer.bad_test_images),
        ),
    )


def _prepare_process(cfg, plan: RunPlan) -> None:  # type: ignore[no-untyped-def]
    import torch
    from detectron2.utils.env import seed_all_rng

    take_over_torch_logs()
    seed_all_rng(cfg.SEED)  # for the weights to start from; every iteration brings its own
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if plan.devices.kind == "cpu" and plan.devices.num_processes > 1:
        # Each rank would start a thread per core.
        torch.set_num_threads(max(1, torch.get_num_threads() // plan.devices.num_processes))


def _equip(trainer, plan: RunPlan, fence: Fence) -> None:  # type: ignore[no-untyped-def]
    """Give rank 0 its hooks and writers."""
    from launcher.train.hooks import chosen as hooks
    from launcher.train.output.writers import build_writers, write_plan_as_text

    paths = plan.paths
    writers = build_writers(paths, plan.training.logging, trainer)
    write_plan_as_text(writers, trainer.cfg, plan)
    write_text(paths.config, trainer.cfg.dump())
    trainer.register_hooks(hooks.rank_zero(trainer, plan, writers, fence))
