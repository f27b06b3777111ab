"""Variables of a shell that sbatch reads as options, and puts above the lines of a batch script. Decides only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import takewhile

VARIABLES = {
    "output": ("SBATCH_OUTPUT", "SBATCH_ERROR"),
    "requeue": ("SBATCH_REQUEUE", "SBATCH_NO_REQUEUE"),
    "gres": (
        "SBATCH_GRES",
        "SBATCH_GPUS",
        "SBATCH_GPUS_PER_NODE",
        "SBATCH_GPUS_PER_SOCKET",
        "SBATCH_GPUS_PER_TASK",
    ),
    "cpus-per-task": ("SBATCH_CPUS_PER_TASK", "SBATCH_CPUS_PER_GPU", "SBATCH_TRES_PER_TASK", "SBATCH_OVERCOMMIT"),
    "mem": ("SBATCH_MEM_PER_NODE", "SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_GPU"),
    "time": ("SBATCH_TIMELIMIT",),
    "hint": ("SBATCH_HINT", "SLURM_HINT"),
    "clusters": ("SBATCH_CLUSTERS", "SLURM_CLUSTERS"),
    "bb": ("SBATCH_BURST_BUFFER",),
    "cpu-freq": ("SBATCH_CPU_FREQ_REQ",),
    "switches": ("SBATCH_REQ_SWITCH", "SBATCH_WAIT4SWITCH"),
}
"""Of an option: those that replace or contradict it. Of an option that is not here, SBATCH_ and its name."""

NEVER = ("SBATCH_ARRAY_INX", "SBATCH_WAIT")
"""The first one chooses other elements than the script, and of one run makes several that train in one folder; with the
other sbatch ends with the job."""


def overriding_variables(script: str, environ: Collection[str]) -> list[str]:
    """Those of the environment with which a job would not get what the script sets, in alphabetical order."""
    names = {*NEVER, *(name for option in _options_in(script) for name in _variables_of(option))}
    return sorted(names & {*environ})


def _options_in(script: str) -> Iterator[str]:
    """Names of the options on the lines that sbatch reads: those before the first command."""
    for line in takewhile(lambda line: line.startswith("#"), script.split("\n")):
        marker, _, option = line.partition(" --")
        if marker == "#SBATCH":
            yield option.partition("=")[0]


def _variables_of(option: str) -> tuple[str, ...]:
    return VARIABLES.get(option, (f"SBATCH_{option.upper().replace('-', '_')}",))
