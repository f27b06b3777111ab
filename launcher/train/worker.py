"""The worker process: reads a plan, starts its ranks, trains, and writes down how it ended.

Rank is decided here, once, by giving rank 0 more writers and hooks.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from launcher.config.values import read_json, write_json
from launcher.run.outcome import WorkerResult
from launcher.run.paths import AttemptPaths, RunPaths
from launcher.run.plan import RunPlan
from launcher.train.logs import log_to, take_over_torch_logs
from launcher.train.stop import STOP, end_with_parent


def work(plan_file: Path) -> int:
    """Train as the plan says and return the exit status: 0 when a result was written."""
    end_with_parent()
    plan = read_json(plan_file, RunPlan)
    if plan.devices.num_processes == 1:
        return train_rank(plan_file, 0)
    attempt = RunPaths(Path(plan.folder)).attempt(plan.attempt)
    if STOP.asked:
        return 1
    STOP.note_signals(attempt.stop_note)
    log_to(attempt.log(0), console=False)
    return _launch_ranks(plan_file, plan.devices.num_processes)


def _launch_ranks(plan_file: Path, num_processes: int) -> int:
    # Ranks import torch before our code can tell Python where warnings go.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    from detectron2.engine import launch
    from torch.multiprocessing import ProcessExitedException

    take_over_torch_logs()
    try:
        launch(_train_spawned_rank, num_processes, dist_url="auto", args=(str(plan_file),))
    except ProcessExitedException:
        return 1  # that rank wrote why
    return 0


def _train_spawned_rank(plan_file: str) -> None:
    import torch.distributed
    from detectron2.utils import comm

    plan = read_json(Path(plan_file), RunPlan)
    STOP.note_signals()
    STOP.look_for(RunPaths(Path(plan.folder)).attempt(plan.attempt).stop_note)
    status = train_rank(Path(plan_file), comm.get_rank())
    if status != 0:
        # Not sys.exit: the other ranks wait in a collective that this one will never join, and so would its clean-up.
        sys.stdout.flush()
        os._exit(status)
    comm.synchronize()
    torch.distributed.destroy_process_group()


def train_rank(plan_file: Path, rank: int) -> int:
    """One rank's training; an exception becomes a failure file and status 1."""
    plan = read_json(plan_file, RunPlan)
    attempt = RunPaths(Path(plan.folder)).attempt(plan.attempt)
    log_to(attempt.log(rank), console=rank == 0)
    try:
        with _failure_noted(attempt, rank):
            result = _train(plan, rank)
    except Exception:
        return 1
    if rank == 0:
        write_json(attempt.result, result)
    return 0


@contextlib.contextmanager
def _failure_noted(attempt: AttemptPaths, rank: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        from launcher.train.failures import explain

        write_json(attempt.failure(rank), explain(error))
        raise


def _train(plan: RunPlan, rank: int) -> WorkerResult:
    from launcher.train.cfg_node import to_cfg_node
    from launcher.train.datasets import register_datasets
    from launcher.train.trainer import Trainer

    cfg = to_cfg_node(plan.detectron2, plan.config_extensions)
    cfg.freeze()
    register_datasets(plan.splits)
    _prepare_process(cfg, plan, rank)
    trainer = Trainer(cfg, num_processes=plan.devices.num_processes, stop=STOP)
    trainer.continue_from(plan.resume)
    _equip(trainer, plan, rank)
    trainer.train()
    return WorkerResult(
        finished=trainer.finished,
        iterations=trainer.iterations_done,
        metrics={key: value if math.isfinite(value) else None for key, value in trainer.latest_metrics.items()},
    )


def _prepare_process(cfg, plan: RunPlan, rank: int) -> None:  # type: ignore[no-untyped-def]
    import torch
    from detectron2.utils.env import seed_all_rng

    take_over_torch_logs()
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if plan.devices.kind == "cpu" and plan.devices.num_processes > 1:
        # Each rank would start a thread per core.
        torch.set_num_threads(max(1, torch.get_num_threads() // plan.devices.num_processes))


def _equip(trainer, plan: RunPlan, rank: int) -> None:  # type: ignore[no-untyped-def]
    """Give this rank its hooks and writers."""
    from launcher.train import hooks
    from launcher.train.writers import build_writers, write_plan_as_text

    paths = RunPaths(Path(plan.folder))
    trainer.register_hooks(hooks.every_rank(trainer))
    if rank != 0:
        return
    writers = build_writers(paths, plan.logging, trainer)
    write_plan_as_text(writers, trainer.cfg, plan)
    paths.config.write_text(trainer.cfg.dump())
    trainer.register_hooks(hooks.rank_zero(trainer, paths, plan.logging, writers))
