"""Several ranks in processes of their own, started by detectron2's `launch`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlparse

import torch.distributed
from detectron2.engine import launch
from detectron2.utils import comm
from torch.distributed import PrefixStore, Store, TCPStore
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from launcher.config.values import write_json
from launcher.errors import ExitCode
from launcher.process_end import end_process
from launcher.run import codes
from launcher.run.outcome import RANK_KILLED, WorkerFailure, code_of_signal, explain_signal
from launcher.run.paths import AttemptPaths
from launcher.run.plan import RunPlan
from launcher.train.output.logs import take_over_torch_logs
from launcher.train.stop import STOP

RankMain = Callable[[Path, int], int]
"""Of a plan's file and the rank: what the rank does, to its exit status. A function that can be pickled."""


SCHEME = "launcher"
PATIENCE = timedelta(minutes=5)
"""For the processes of other nodes to come, once all launchers have said that they are ready."""


def launch_ranks(rank_main: RankMain, plan_file: Path, plan: RunPlan) -> int:
    """Run the ranks of this node to their end and return the exit status."""
    take_over_torch_logs()
    # torchrun's: the ranks would look for each other where its own processes do.
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    nodes, attempt = plan.nodes, plan.attempt_paths
    try:
        launch(
            _run_rank,
            plan.devices.num_processes,
            num_machines=nodes.count,
            machine_rank=nodes.rank,
            dist_url=f"{SCHEME}://{nodes.address}/{quote(nodes.meeting)}" if nodes.count > 1 else "auto",
            args=(rank_main, plan_file, attempt.stop_note),
        )
    except ProcessExitedException as error:
        if error.signal_name is not None:
            _note_killed_rank(attempt, plan.first_rank + error.error_index, error.signal_name)
        return 1  # otherwise that rank wrote why
    except ProcessRaisedException as error:
        if nodes.count == 1:
            raise
        _note_missed_meeting(plan, error)
        return 1
    return 0


def _meet(url: str, **_: object) -> Iterator[tuple[Store, int, int]]:
    """torch's rendezvous of one attempt: a process that an earlier one has left behind finds nobody here."""
    parts = urlparse(url)
    asked = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
    rank, world_size = asked["rank"], asked["world_size"]
    store = TCPStore(parts.hostname or "", parts.port or 0, world_size, is_master=rank == 0, timeout=PATIENCE)
    yield PrefixStore(unquote(parts.path), store), rank, world_size
    raise RuntimeError("the processes of an attempt meet once")


# In every process that imports this file, as detectron2's `launch` has each rank do.
torch.distributed.register_rendezvous_handler(SCHEME, _meet)


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
    end_process(0)


def _note_killed_rank(attempt: AttemptPaths, rank: int, signal_name: str) -> None:
    number = signal.Signals[signal_name]
    failure = WorkerFailure(
        kind=RANK_KILLED,
        message=explain_signal(number, f"rank {rank}"),
        understood=True,
        exit_code=int(ExitCode.training_failed),
        traceback="",
        code=code_of_signal(number),
        signal=number,
        rank=rank,
    )
    _note(attempt, failure)


def _note_missed_meeting(plan: RunPlan, error: ProcessRaisedException) -> None:
    """What a rank raises before it is ours is about the meeting."""
    rank, why = plan.first_rank + error.error_index, str(error).strip().splitlines()[-1]
    failure = WorkerFailure(
        kind=type(error).__name__,
        message=f"rank {rank} did not meet the other processes at {plan.nodes.address} ({why}). If a host has several "
        "networks, name the one that connects the nodes, as `ip -br address` lists it: device.interface=eth0",
        understood=True,
        exit_code=int(ExitCode.resumable),
        traceback=str(error),
        code=codes.NODE,
        rank=rank,
    )
    _note(plan.attempt_paths, failure)


def _note(attempt: AttemptPaths, failure: WorkerFailure) -> None:
    if not attempt.failure(failure.rank).exists():  # what it wrote itself says more
        write_json(attempt.failure(failure.rank), failure)
