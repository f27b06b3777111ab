"""The batch script of a job, as a person reads it. Text only; every value is quoted for whoever reads it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from launcher.cluster.job import Array, Job
from launcher.config.request import ContainerKind

HEAD = """\
#!/bin/bash
# Written by the launcher. By hand, on the node of an allocation, the command after `srun` does the same."""

BODY = """\
ours() { echo "launcher: $*"; }

if ! cd %(working_directory)s || [ ! -f "$run/request.yaml" ]; then
    ours "$run cannot be found on $(hostname): set run.root to a folder that all nodes share" >&2
    exit 2
fi
%(redirection)s\
%(shared)s\
newest() { ls "$run/checkpoints" 2>/dev/null | grep -xE 'model_[0-9]+\\.pth' | sort | tail -n 1; }
attempt() { ls "$run/attempts" 2>/dev/null | grep -xE '[1-9][0-9]*' | sort -n | tail -n 1; }

# Starts of this job in a row that found the same newest checkpoint: a run that progresses is never given up.
before=$(newest)
job= checkpoint= starts=0
read -r job checkpoint starts 2>/dev/null < "$run/cluster/starts"
if [ "$job $checkpoint" = "$id ${before:-none}" ]; then starts=$((starts + 1)); else starts=1; fi
echo "$id ${before:-none} $starts" > "$run/cluster/starts"
ours "job $id on $(hostname), start $starts from ${before:-the beginning}, $(date '+%%F %%T')"
give_up() {
    ours "$1 starts in a row brought no new checkpoint, so the job ends; see $run/attempts/$(attempt)/log.txt"
    exit 1
}
[ "$starts" -le %(most)d ] || give_up %(most)d

# Slurm signals this shell too; it stays, because it decides what follows.
trap : TERM USR1
last=$(attempt)
srun %(tasks)s --cpus-per-task=%(cpus)d --kill-on-bad-exit=1 %(command)s resume "$run" &
step=$!
wait "$step"; status=$?
while kill -0 "$step" 2>/dev/null; do wait "$step"; status=$?; done

# The run's own record counts: of a job that is preempted srun exits with 143, however its step ended. Only a launcher
# that can be resumed says 75, which may also be because of what came after the attempt on record.
now=$(attempt)
if [ "$now" != "$last" ] && [ "$status" != 75 ]; then
    status=$(sed -n 's/^  "exit_code": \\([0-9]*\\),*$/\\1/p' "$run/attempts/$now/outcome.json" 2>/dev/null)
fi
case ${status:-killed} in
    75) why="stopped and saved" ;;
    killed | 129 | 137 | 138 | 140 | 143) why="killed" ;; # by HUP, KILL, USR1, USR2 or TERM, before it could answer
    5) [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] || exit 5; why="an earlier start still trains elsewhere" ;;
    *) exit "$status" ;; # finished, or failed for a reason of its own
esac
[ "$starts" -lt %(most)d ] || [ "$(newest)" != "$before" ] || give_up "$starts"
# On a node that was given up this start may end after another one has begun.
restarts=$(scontrol show job "$id" 2>/dev/null | sed -n 's/.* Restarts=\\([0-9]*\\).*/\\1/p')
if [ "${restarts:-${SLURM_RESTART_COUNT:-0}}" != "${SLURM_RESTART_COUNT:-0}" ]; then
    ours "$why; Slurm has started the job again"
    exit 75
fi
# While this job runs nobody else has decided. One that completes was cancelled, or is requeued by Slurm itself,
# unless its time was up.
read -r state left <<< "$(squeue --noheader -j "$id" -o '%%T %%L' 2>/dev/null)"
case "${state:-RUNNING} $left" in
    RUNNING* | "COMPLETING 0:00") ;;
    *)
        ours "$why; the job is $state: Slurm requeues what it interrupts itself, and nothing that was cancelled"
        exit 75
        ;;
esac
ours "$why at ${now:+attempt $now, }$(newest): requeued"
scontrol requeue "$id" && sleep 60
exit 75
"""

SHARED = """\
lost=$(srun %(tasks)s bash -c '[ -f "$1/request.yaml" ] || { echo "$SLURMD_NODENAME"; exit 2; }' - "$run")
if [ $? = 2 ]; then
    ours "$run cannot be found on $(echo $lost): set run.root to a folder that all nodes share" >&2
    exit 2
fi
"""
REDIRECTION = """\
# Slurm itself writes into no folder with a backslash or a percent sign in its name.
exec >> %s/cluster/"slurm-$id.out" 2>&1
"""
MOST_STARTS = 3
"""In a row without a new checkpoint."""


def batch_script(job: Job) -> str:
    """The whole script."""
    values = {
        "working_directory": shlex.quote(str(job.working_directory)),
        "cpus": job.cpus,
        "tasks": _tasks(job),
        "shared": SHARED % {"tasks": _tasks(job)} if job.asked.nodes > 1 else "",
        "command": " ".join(map(shlex.quote, _in_container(job))),
        "most": MOST_STARTS,
        "redirection": "" if _takes_output(job.run) else REDIRECTION % shlex.quote(str(job.run)),
    }
    return "\n".join([HEAD, *directives(job), "", *_which_run(job), *_environment(job), BODY % values])


def _which_run(job: Job) -> Iterator[str]:
    """The run, and what Slurm's commands call this job: to some of them SLURM_JOB_ID of an element is all elements."""
    if job.array is None:
        yield f"run={shlex.quote(str(job.run))}"
        yield "id=$SLURM_JOB_ID"
        return
    yield "case $SLURM_ARRAY_TASK_ID in"
    for number, run in job.array.runs.items():
        yield f"    {number}) run={shlex.quote(str(run))} ;;"
    yield "esac"
    yield "id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"


def directives(job: Job) -> Iterator[str]:
    """The lines that sbatch reads."""
    for name, value in _options(job):
        yield f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}"
    for option in job.asked.options:
        name, equals, value = option.partition("=")
        yield f"#SBATCH {name}{equals}{quoted(value) if equals else ''}"


def _options(job: Job) -> Iterator[tuple[str, str]]:
    asked = job.asked
    yield "job-name", quoted(job.name)
    yield "chdir", quoted(str(job.run))
    yield "output", f"cluster/slurm-{_output_of(job)}.out" if _takes_output(job.run) else "/dev/null"
    yield "open-mode", "append"
    yield "requeue", ""
    if job.array is not None:
        yield "array", array_text(job.array)
    yield "signal", f"USR1@{job.lead_s}"
    yield "nodes", str(asked.nodes)
    yield "ntasks", str(asked.nodes)
    if asked.nodes > 1:
        yield "ntasks-per-node", "1"
    yield "cpus-per-task", str(job.cpus)
    if asked.gpus_per_node:
        yield "gres", f"gpu:{asked.gpus_per_node}"
    if asked.memory_gib:
        yield "mem", f"{round(asked.memory_gib * 1024)}M"
    if job.time_s:
        yield "time", time_text(job.time_s)
    for name in ("partition", "account", "qos", "constraint"):
        if value := getattr(asked, name):
            yield name, quoted(value)


def _output_of(job: Job) -> str:
    return "%j" if job.array is None else "%A_%a"


def array_text(array: Array) -> str:
    """`1-3,7%2`: elements, and how many at once."""
    spans: list[list[int]] = []
    for number in sorted(array.runs):
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    listed = ",".join("-".join(map(str, span)) for span in spans)
    return f"{listed}%{array.at_once}" if array.at_once else listed


def _tasks(job: Job) -> str:
    """One launcher for each node."""
    nodes = job.asked.nodes
    return f"--nodes={nodes} --ntasks={nodes} --ntasks-per-node=1" if nodes > 1 else "--ntasks=1"


def _in_container(job: Job) -> list[str]:
    """What srun starts, which the site's container runtime starts in an image where one is named."""
    asked, here = job.asked.container, str(job.working_directory)
    folders = list(dict.fromkeys([str(job.run), here, *asked.mounts]))
    match asked.kind:
        case ContainerKind.none:
            return [*job.command]
        case ContainerKind.srun:
            mounts = ",".join(f"{folder}:{folder}" for folder in folders)
            options = [
                f"--container-{name}" for name in (f"image={asked.image}", f"mounts={mounts}", f"workdir={here}")
            ]
            return [*options, "launcher"]
        case ContainerKind.apptainer:
            gpus = ["--nv"] if job.asked.gpus_per_node else []
            return ["apptainer", "exec", *gpus, "--bind", ",".join(folders), "--pwd", here, asked.image, "launcher"]


def _takes_output(folder: Path) -> bool:
    """Whether Slurm finds a file there: it reads backslashes and percent signs of a path as something else."""
    return not {"\\", "%"} & set(str(folder))


def _environment(job: Job) -> Iterator[str]:
    if job.python_path:
        path = shlex.quote(":".join(job.python_path))
        yield f'export PYTHONPATH={path}"${{PYTHONPATH:+:$PYTHONPATH}}"'
    yield from job.asked.preamble


def quoted(text: str) -> str:
    """As sbatch reads one value: it knows double quotes and, also within them, backslashes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def time_text(seconds: float) -> str:
    """`1-02:03:04`, which Slurm cannot take for minutes."""
    whole = max(round(seconds), 1)
    return f"{whole // 86400}-{whole // 3600 % 24:02}:{whole // 60 % 60:02}:{whole % 60:02}"
