"""Several ranks in processes of their own, started by detectron2's `launch`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch.distributed
from detectron2.engine import launch
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException

from launcher.config.values import write_json
from launcher.errors import ExitCode
from launcher.run.outcome import RANK_KILLED, WorkerFailure, code_of_signal, explain_signal
from launcher.run.paths import AttemptPaths
from launcher.train.output.logs import take_over_torch_logs
from launcher.train.stop import STOP

RankMain = Callable[[Path, int], int]
"""Of a plan's file and the rank: what the rank does, to its exit status. A function that can be pickled."""


def launch_ranks(rank_main: RankMain, plan_file: Path, num_processes: int, attempt: AttemptPaths) -> int:
    """Run all ranks to their end and return the exit status."""
    take_over_torch_logs()
    try:
        launch(_run_rank, num_processes, dist_url="auto", args=(rank_main, plan_file, attempt.stop_note))
    except ProcessExitedException as error:
        if error.signal_name is not None:
            _note_killed_rank(attempt, error.error_index, error.signal_name)
        return 1  # otherwise that rank wrote why
    return 0


def _run_rank(rank_main: RankMain, plan_file: Path, stop_note: Path) -> None:
    STOP.note_signals()
    STOP.look_for(stop_note)
    status = rank_main(plan_file, comm.get_rank())
    if status != 0:
        # Not sys.exit: the other ranks wait in a collective that this one will never join, and so would its clean-up.
        sys.stdout.flush()
        os._exit(status)
    comm.synchronize()
    torch.distributed.destroy_process_group()


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
