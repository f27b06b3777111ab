"""The batch script, run by bash with an `srun` and a `scontrol` that only pretend."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.cluster.script import batch_script, directives, quoted, time_text
from launcher.config.request import ClusterSettings, ContainerKind, ContainerSettings
from tests.cluster.hostile import STRINGS
from tests.cluster.jobs import a_job

SRUN = """#!/bin/bash
echo "$@" >> {place}/srun.log
number=$(ls {run}/attempts 2>/dev/null | wc -l)
if [ -n "$WRITES" ]; then
    mkdir -p {run}/attempts/$((number + 1)) {run}/checkpoints
    [ "$WRITES" = nothing ] || printf '{{\\n  "exit_code": %s,\\n  "code": ""\\n}}\\n' "$WRITES" \
        > {run}/attempts/$((number + 1))/outcome.json
    [ -z "$SAVES" ] || touch {run}/checkpoints/model_000000$number.pth
fi
exit ${{ENDS:-0}}
"""


SCONTROL = """#!/bin/bash
[ "$1" = show ] && echo "   Requeue=1 Restarts=$RESTARTS BatchFlag=1 Reboot=0" && exit
echo "$@" >> {place}/scontrol.log
"""


@dataclass(frozen=True)
class Node:
    """Where the script runs."""

    place: Path

    def start(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the job once; what srun `WRITES` is the exit code in a new attempt's outcome."""
        path = f"{self.place}/bin:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", str(self.place / "job.sh")],
            env={"PATH": path, "SLURM_JOB_ID": "17", **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def requeues(self) -> list[str]:
        log = self.place / "scontrol.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def node(tmp_path: Path) -> Node:
    run = tmp_path / "run"
    (run / "cluster").mkdir(parents=True)
    (run / "request.yaml").touch()
    (tmp_path / "job.sh").write_text(batch_script(a_job(run)))
    for name, text in {
        "srun": SRUN.format(place=tmp_path, run=run),
        "scontrol": SCONTROL.format(place=tmp_path),
        "squeue": '#!/bin/bash\necho "${STATE:-RUNNING 1:00:00}"\n',
        "sleep": "#!/bin/bash\n",
    }.items():
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(text)
        command.chmod(0o755)
    return Node(tmp_path)


@pytest.mark.parametrize(
    ("ends", "writes", "status", "is_requeued"),
    [
        ("0", "0", 0, False),
        ("75", "75", 75, True),
        ("143", "75", 75, True),  # preempted: the step ended well, srun did not
        ("143", "0", 0, False),  # and had just finished
        ("137", "nothing", 75, True),
        ("1", "1", 1, False),
        ("143", "1", 1, False),
        ("75", "1", 75, True),  # stopped, or short of a node, between an attempt that failed and its retry
        ("76", "76", 76, False),
        ("130", "130", 130, False),
        ("0", "", 0, False),  # finished before
        ("75", "", 75, True),  # stopped before it began to train
        ("143", "", 75, True),
        ("138", "", 75, True),  # the signal came while Python started
        ("139", "", 139, False),
        ("2", "", 2, False),
        ("4", "", 4, False),
        ("5", "", 5, False),
    ],
)
def test_a_job_is_requeued_when_its_run_was_stopped_or_killed_and_at_no_other_end(
    node: Node, ends: str, writes: str, status: int, is_requeued: bool
):
    done = node.start(ENDS=ends, WRITES=writes, SAVES="yes")

    assert done.returncode == status, done.stdout + done.stderr
    assert node.requeues == (["requeue 17"] if is_requeued else [])
    assert done.stderr == ""


def test_a_start_after_a_lost_node_waits_for_one_that_lives_on_elsewhere(node: Node):
    done = node.start(ENDS="5", SLURM_RESTART_COUNT="1")

    assert (done.returncode, node.requeues) == (75, ["requeue 17"])
    assert "an earlier start still trains" in done.stdout


def test_a_start_that_slurm_has_replaced_does_not_requeue_the_other_one(node: Node):
    assert node.start(ENDS="75", WRITES="75", SAVES="yes", RESTARTS="1").returncode == 75
    assert node.requeues == []

    assert node.start(ENDS="75", WRITES="75", SAVES="yes", RESTARTS="1", SLURM_RESTART_COUNT="1").returncode == 75
    assert node.requeues == ["requeue 17"]


@pytest.mark.parametrize(
    ("state", "is_requeued"),
    [("RUNNING 0:59", True), ("COMPLETING 12:00", False), ("COMPLETING 0:00", True), ("PENDING 12:00", False)],
)
def test_a_job_that_was_cancelled_or_that_slurm_requeues_itself_is_left_alone(
    node: Node, state: str, is_requeued: bool
):
    assert node.start(ENDS="75", WRITES="75", SAVES="yes", STATE=state).returncode == 75
    assert node.requeues == (["requeue 17"] if is_requeued else [])


def test_three_starts_in_a_row_without_a_checkpoint_end_the_job_and_say_so(node: Node):
    ends = [node.start(ENDS="75", WRITES="75") for _ in range(3)]

    assert [done.returncode for done in ends] == [75, 75, 1]
    assert len(node.requeues) == 2
    assert "3 starts in a row brought no new checkpoint" in ends[-1].stdout
    assert f"{node.place}/run/attempts/3/log.txt" in ends[-1].stdout


def test_starts_that_progress_are_requeued_without_a_limit_and_those_before_do_not_count(node: Node):
    saves = ["", "", "yes", "", "yes", *["yes"] * 5]

    ends = [node.start(ENDS="75", WRITES="75", SAVES=saved) for saved in saves]

    assert [done.returncode for done in ends] == [75] * 10
    assert len(node.requeues) == 10


def test_starts_that_slurm_itself_has_cut_off_count_too(node: Node):
    """As of a node that is lost together with the script."""
    (node.place / "run/cluster/starts").write_text("17 none 3\n")

    done = node.start(ENDS="75", WRITES="75")

    assert done.returncode == 1
    assert "3 starts in a row" in done.stdout
    assert not (node.place / "srun.log").exists()


def test_another_job_of_the_same_run_counts_from_one(node: Node):
    (node.place / "run/cluster/starts").write_text("16 none 3\n")

    assert node.start(ENDS="75", WRITES="75").returncode == 75
    assert node.requeues == ["requeue 17"]


def test_a_folder_that_the_node_does_not_have_is_named(node: Node):
    (node.place / "run/request.yaml").unlink()

    done = node.start()

    assert done.returncode == 2
    assert "run.root to a folder that all nodes share" in done.stderr
    assert node.requeues == []


@pytest.mark.parametrize("text", STRINGS)
def test_no_value_is_more_than_a_value_to_bash(tmp_path: Path, text: str):
    """In every place that is no shell by intention: the script is only read, up to where it would do something."""
    asked = ClusterSettings(partition=text, account=text, qos=text, constraint=text, options=[f"--comment={text}"])
    job = a_job(Path(f"/runs/{text}"), name=text, asked=asked, python_path=(f"/code/{text}",), command=(text, "-m"))
    head, _, _ = batch_script(job).partition("ours()")

    shown = f'{head}\nprintf "%s\\n" "$run" "$PYTHONPATH"'
    done = subprocess.run(
        ["bash", "-c", shown], cwd=tmp_path, env={"PATH": "/bin"}, capture_output=True, text=True, check=False
    )

    assert done.stdout == f"/runs/{text}\n/code/{text}\n"
    assert list(tmp_path.iterdir()) == []
    assert sum(line.startswith("#SBATCH") for line in head.splitlines()) == len(list(directives(job)))


def test_sbatch_gets_backslashes_and_double_quotes_escaped():
    assert quoted(r'a "b" \c') == r'"a \"b\" \\c"'


@pytest.mark.parametrize(
    ("seconds", "text"), [(60.0, "0-00:01:00"), (86400.0 * 2 + 3661, "2-01:01:01"), (0.2, "0-00:00:01")]
)
def test_a_time_has_all_its_parts(seconds: float, text: str):
    assert time_text(seconds) == text


def test_what_is_asked_for_is_in_the_directives_and_nothing_else(tmp_path: Path):
    asked = ClusterSettings(gpus_per_node=8, memory_gib=1.5, partition="gpu", options=["--exclusive", "--exclude=n3"])

    lines = list(directives(a_job(tmp_path, asked=asked, cpus=40, time_s=3600.0)))

    assert lines[3:] == [
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        "#SBATCH --signal=USR1@120",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=40",
        "#SBATCH --gres=gpu:8",
        "#SBATCH --mem=1536M",
        "#SBATCH --time=0-01:00:00",
        '#SBATCH --partition="gpu"',
        "#SBATCH --exclusive",
        '#SBATCH --exclude="n3"',
    ]


def test_a_job_on_two_nodes_starts_one_launcher_on_each(tmp_path: Path):
    job = a_job(tmp_path, asked=ClusterSettings(nodes=2))

    assert list(directives(job))[6:9] == ["#SBATCH --nodes=2", "#SBATCH --ntasks=2", "#SBATCH --ntasks-per-node=1"]
    assert "\nsrun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=1 --kill-on-bad-exit=1 launcher" in (
        batch_script(job)
    )


@pytest.mark.parametrize(
    ("kind", "gpus", "started"),
    [
        (
            ContainerKind.srun,
            8,
            "'--container-image=d2 a.sqsh' --container-mounts=RUN:RUN,/here:/here,/data:/data "
            "--container-workdir=/here launcher",
        ),
        (ContainerKind.apptainer, 8, "apptainer exec --nv --bind RUN,/here,/data --pwd /here 'd2 a.sqsh' launcher"),
        (ContainerKind.apptainer, 0, "apptainer exec --bind RUN,/here,/data --pwd /here 'd2 a.sqsh' launcher"),
    ],
)
def test_the_training_runs_in_a_container_and_the_script_outside(
    tmp_path: Path, kind: ContainerKind, gpus: int, started: str
):
    container = ContainerSettings(kind=kind, image="d2 a.sqsh", mounts=["/data"])
    job = a_job(
        tmp_path,
        asked=ClusterSettings(gpus_per_node=gpus, container=container),
        working_directory=Path("/here"),
        command=("/here/.venv/bin/launcher",),
    )

    line = f"--kill-on-bad-exit=1 {started.replace('RUN', str(tmp_path))} resume"

    assert line in batch_script(job)
    assert "\nscontrol requeue" in batch_script(job)
