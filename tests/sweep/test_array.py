"""`hydra/launcher=slurm_array` as it is typed, with commands of Slurm that only pretend."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from launcher.cli.main import main
from launcher.config.values import write_json
from launcher.errors import ExitCode
from launcher.run import codes
from launcher.run.outcome import Ending, Outcome, Work
from launcher.run.paths import RunPaths
from launcher.run.submission import read_submission
from launcher.sweep.stored import read_sweep
from tests.values import failed_with, finished_after

RATES = ("0.001", "0.002", "0.003")
Train = Callable[..., int]


@dataclass(frozen=True)
class Pretended:
    """A cluster whose queue is a file, and below whose folder sweeps live."""

    place: Path

    def put(self, name: str, text: str) -> None:
        file = self.place / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'#!/bin/sh\necho "$@" >> {self.place}/{name}.log\n{text}\n')
        file.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        log = self.place / f"{name}.log"
        return log.read_text().splitlines() if log.exists() else []

    def queue(self, **states: str) -> None:
        """What is in it, such as `_1="PENDING|Priority"` of the first array; then nothing happens any more."""
        lines = [f"1{element}|{state}|{self.sweep}" for element, state in states.items()]
        (self.place / "queue").write_text("".join(f"{line}\n" for line in lines))
        self.put("squeue", f"/bin/cat {self.place}/queue")

    def ends_with(self, outcome: Outcome | None, rates: tuple[str, ...] = RATES) -> None:
        """Whenever Slurm is asked, jobs that were submitted have ended so, and none is in the queue."""
        done = self.place / "outcome.json"
        if outcome is not None:
            write_json(done, outcome)
        ends = [
            f"if [ -f {run.submission} ]; then /bin/mkdir -p {run.attempt(1).folder}; "
            f"/bin/cp {done} {run.attempt(1).outcome}; fi"
            for run in map(self.run, rates)
        ]
        self.put("squeue", "\n".join(ends if outcome is not None else [":"]))

    @property
    def sweep(self) -> Path:
        return self.place / "outputs/mask_rcnn_R_50_FPN_1x-small/sweep-rates"

    def run(self, rate: str) -> RunPaths:
        return RunPaths(self.sweep / f"BASE_LR={rate}")

    @property
    def states(self) -> list[str]:
        (header, *rows) = (self.sweep / "summary.csv").read_text().splitlines()
        assert header.startswith("job,state")
        return sorted(row.split(",")[1] for row in rows)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    made = Pretended(tmp_path)
    made.put("sbatch", f"echo $(/usr/bin/wc -l < {tmp_path}/sbatch.log)")
    made.put("scontrol", "echo 'MaxArraySize            = 1001'")
    made.put("scancel", "")
    made.queue()
    return made


@pytest.fixture
def train(demo_settings: tuple[str, ...]) -> Train:
    """A sweep of three learning rates."""
    shared = [text for text in demo_settings if not text.startswith("SOLVER.BASE_LR")]

    def run(*more: str, command: str = "train", rates: tuple[str, ...] = RATES) -> int:
        swept = f"SOLVER.BASE_LR={','.join(rates)}"
        fixed = ("-m", "hydra/launcher=slurm_array", "cluster=slurm", "device=cpu", "sweep.name=rates")
        return main([command, *fixed, *shared, swept, *more])

    return run


def test_a_sweep_is_one_array_whose_elements_resume_frozen_runs(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    assert train("--detach", "cluster.max_parallel=2", "cluster.time=1:00:00") == 0

    script, said = (slurm.sweep / "cluster/job.sh").read_text(), capsys.readouterr().out
    assert slurm.calls("sbatch") == [f"--parsable {slurm.sweep}/cluster/job.sh"]
    assert "#SBATCH --array=1-3%2\n" in script
    assert f"    3) run={slurm.run('0.003').folder} ;;\n" in script
    assert "submitted as array 1: 3 jobs, at most 2 at a time" in said
    assert "watch    launcher status mask_rcnn_R_50_FPN_1x-small/sweep-rates --follow" in said
    for number, rate in enumerate(RATES, start=1):
        submission, frozen = read_submission(slurm.run(rate)), yaml.safe_load(slurm.run(rate).request.read_text())
        assert submission is not None
        assert submission.job_id == f"1_{number}"
        assert frozen["keys"]["SOLVER"]["BASE_LR"] == float(rate)
        assert frozen["command"].startswith("launcher submit cluster=slurm device=cpu")
        assert "max_parallel" not in frozen["command"]


def test_the_same_command_submits_nothing_that_the_queue_has(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    train("--detach")
    slurm.queue(_1="RUNNING|None", _2="PENDING|Priority", _3="PENDING|Priority")
    capsys.readouterr()

    assert train("--detach") == 0

    said = capsys.readouterr().out
    assert len(slurm.calls("sbatch")) == 1
    assert "3 jobs are in Slurm's queue already, and nothing is submitted" in said
    assert "3 of 3 jobs are left to Slurm" in said


def test_a_job_that_left_the_queue_before_it_began_is_submitted_again_under_its_number(slurm: Pretended, train: Train):
    train("--detach")
    slurm.queue(_1="RUNNING|None", _3="PENDING|Priority")

    train("--detach")

    assert len(slurm.calls("sbatch")) == 2
    assert "#SBATCH --array=2\n" in (slurm.sweep / "cluster/job.sh").read_text()
    assert [read_submission(slurm.run(rate)).job_id for rate in RATES] == ["1_1", "2_2", "1_3"]  # type: ignore[union-attr]


def test_what_a_killed_command_could_not_note_is_found_in_the_queue(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    train("--detach")
    slurm.queue(_1="PENDING|Priority", _2="PENDING|Priority", _3="PENDING|Priority")
    slurm.run("0.002").submission.unlink()
    slurm.run("0.003").submission.unlink()

    train("--detach")

    assert len(slurm.calls("sbatch")) == 1
    assert "BASE_LR=0.003 is in Slurm's queue already, as 1_3" in capsys.readouterr().out
    assert read_submission(slurm.run("0.003")).job_id == "1_3"  # type: ignore[union-attr]


def test_a_job_of_another_sweep_with_the_same_number_is_not_followed(slurm: Pretended, train: Train):
    train("--detach")
    (slurm.place / "queue").write_text(
        "1_1|RUNNING|None|/elsewhere\n1_2|RUNNING|None|/elsewhere\n1_3|RUNNING|None|/x\n"
    )

    train("--detach")

    assert len(slurm.calls("sbatch")) == 2


def test_nothing_is_submitted_while_nobody_knows_what_slurm_has(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    train("--detach")
    slurm.run("0.002").submission.unlink()
    slurm.put("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")

    assert train("--detach") == ExitCode.training_failed

    assert len(slurm.calls("sbatch")) == 1
    assert "squeue does not answer, so nothing was submitted" in capsys.readouterr().err


def test_a_sweep_that_is_typed_with_another_path_to_its_folder_is_the_same(slurm: Pretended, train: Train):
    train("--detach")
    slurm.queue(_1="RUNNING|None", _2="PENDING|Priority", _3="PENDING|Priority")
    (slurm.place / "link").symlink_to(slurm.place / "outputs")

    train("--detach", "run.root=link")

    assert len(slurm.calls("sbatch")) == 1


def test_it_is_followed_to_its_end_and_the_table_written(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    slurm.ends_with(replace(finished_after(6), work=replace(Work.of(6), metrics={"bbox/AP": 1.0})))

    assert train() == 0

    said = capsys.readouterr().out
    assert "job 3/3  BASE_LR=0.003  finished, bbox/AP 1" in said
    assert "sweep: 3 finished in mask_rcnn_R_50_FPN_1x-small/sweep-rates" in said
    assert "its command   launcher submit cluster=slurm device=cpu" in said
    assert slurm.states == ["finished"] * 3


def test_what_ended_while_nobody_followed_is_in_the_table_and_not_submitted_again(slurm: Pretended, train: Train):
    train("--detach")
    slurm.ends_with(finished_after(6))
    train("--detach")  # asks Slurm, which is when they end

    assert train() == 0
    assert len(slurm.calls("sbatch")) == 1
    assert slurm.states == ["finished"] * 3


def test_a_job_that_fails_is_the_commands_failure_and_does_not_keep_the_others_from_ending(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    slurm.ends_with(failed_with(codes.DIVERGED, iterations=3))

    assert train() == ExitCode.training_failed

    said = capsys.readouterr()
    assert "3 trainings of the sweep failed" in said.err
    assert f"[{codes.DIVERGED}]. Look at it: launcher status" in said.err
    assert slurm.states == ["failed"] * 3


def test_a_failure_that_would_come_again_is_submitted_again_only_if_asked_for(slurm: Pretended, train: Train):
    slurm.ends_with(failed_with(codes.DIVERGED, iterations=3))
    train(rates=RATES[:2])

    assert train(rates=RATES[:2]) == ExitCode.training_failed
    assert len(slurm.calls("sbatch")) == 1
    train("sweep.rerun=failed", "--detach", rates=RATES[:2])

    assert len(slurm.calls("sbatch")) == 2


def test_a_copy_of_the_code_stays_while_a_job_that_runs_from_it_is_in_the_queue(slurm: Pretended, train: Train):
    asked, mark = ("--detach", "cluster.code=snapshot"), slurm.sweep / "cluster/code/mark"
    train(*asked)
    mark.touch()
    slurm.queue(_1="RUNNING|None", _3="PENDING|Priority")
    train(*asked)  # submits job 2 again
    assert mark.exists()
    assert f"export PYTHONPATH={slurm.sweep}/cluster/code/launcher" in (slurm.sweep / "cluster/job.sh").read_text()

    slurm.queue()
    train(*asked)

    assert not mark.exists()


def test_a_copy_of_the_code_stays_for_jobs_in_the_queue_that_the_command_does_not_have(slurm: Pretended, train: Train):
    asked, mark = ("--detach", "cluster.code=snapshot"), slurm.sweep / "cluster/code/mark"
    train(*asked)
    mark.touch()
    slurm.queue(_1="PENDING|Priority", _2="PENDING|Priority", _3="PENDING|Priority")

    train(*asked, rates=("0.004", "0.005"))

    assert mark.exists()


def test_a_job_that_slurm_ended_before_it_began_has_failed_in_slurms_words(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    slurm.ends_with(None)
    slurm.put("scontrol", 'echo "JobId=7 JobState=FAILED Reason=JobLaunchFailure Requeue=1"')

    assert train() == ExitCode.training_failed

    assert "its job 1_1 ended before it began to train: FAILED (JobLaunchFailure)" in capsys.readouterr().err
    assert read_submission(slurm.run("0.001")) is None, "nothing waits any more"


def test_what_was_cancelled_has_not_failed_and_the_command_can_be_resumed(slurm: Pretended, train: Train):
    slurm.ends_with(None)
    slurm.put("scontrol", 'echo "JobId=7 JobState=CANCELLED Reason=None Requeue=1"')

    with pytest.raises(SystemExit) as stopped:
        train()

    assert stopped.value.code == ExitCode.resumable
    assert slurm.states == ["planned"] * 3


def test_one_failure_cancels_the_others_where_that_is_asked(slurm: Pretended, train: Train):
    slurm.ends_with(failed_with(codes.DIVERGED, iterations=3), rates=RATES[:1])
    squeue = (slurm.place / "bin/squeue").read_text()
    (slurm.place / "bin/squeue").write_text(
        f"{squeue}\n[ -s {slurm.place}/scancel.log ] || echo '1_2|RUNNING|None|{slurm.sweep}'\n"
    )

    assert train("sweep.on_failure=stop", rates=RATES[:2]) == ExitCode.training_failed

    assert slurm.calls("scancel") == ["1_2"]


def test_ctrl_c_leaves_the_jobs_to_slurm_and_says_how_to_go_on(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    slurm.queue(_1="RUNNING|None", _2="PENDING|Priority", _3="PENDING|Priority")
    once = slurm.place / "interrupted"
    follows = f'case "$*" in *-j*) [ -f {once} ] || {{ : > {once}; kill -INT $PPID; }};; esac'
    slurm.put("squeue", f"{follows}\n/bin/cat {slurm.place}/queue")

    assert train() == ExitCode.interrupted

    assert "3 of 3 jobs are left to Slurm. The same command follows them" in capsys.readouterr().out
    assert slurm.calls("scancel") == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["SOLVER.MAX_ITER=-1"], "SOLVER.MAX_ITER=-1: must be >= 1"),
        (["cluster.time=soon"], "cluster.time=soon is not a time"),
        (["cluster.gpus_per_node=1"], "cluster.gpus_per_node=1 asks for GPUs, but device=cpu"),
        (["cluster.time=1:00,2:00"], "Settings of cluster differ from job to job"),
        (["dataset.train.json=nowhere.json"], "nowhere.json"),
        (["pool.max_parallel=2"], "hydra/launcher=slurm_array hands the jobs to Slurm"),
        (["hydra/launcher=pool"], "add hydra/launcher=slurm_array"),
        (["hydra/sweeper=basic"], "Use hydra/sweeper=grid, or hydra/sweeper=search"),
        (["cluster.max_parallel=-1"], "cluster.max_parallel=-1: must be >= 0"),
        (["SEED=range(1001)"], "The sweep has 3003 jobs, but an array of this Slurm can have 1000"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_created(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str], more: list[str], words: str
):
    assert train(*more) == 2

    assert words in capsys.readouterr().err
    assert not (slurm.place / "outputs").exists()
    assert slurm.calls("sbatch") == []


def test_a_host_without_sbatch_is_told_so_before_anything_is_created(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    shutil.rmtree(slurm.place / "bin")

    assert train() == 2

    assert "submits with sbatch, which is not here" in capsys.readouterr().err
    assert not (slurm.place / "outputs").exists()


def test_a_refusal_is_in_slurms_words_and_leaves_nothing_queued(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    slurm.put("sbatch", "echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1")

    assert train("cluster.partition=nowhere") == 1

    said = capsys.readouterr()
    assert "Slurm refuses the job: invalid partition specified: nowhere" in said.err
    assert "nothing was submitted" in said.err
    assert read_submission(slurm.run("0.001")) is None


def test_a_refusal_of_jobs_that_slurm_has_nevertheless_names_them(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    slurm.queue(_1="PENDING|Priority", _2="PENDING|Priority", _3="PENDING|Priority")
    slurm.put("sbatch", "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1")
    slurm.put("squeue", f"if [ -f {slurm.place}/sbatch.log ]; then /bin/cat {slurm.place}/queue; fi")

    assert train("--detach") == 1

    said = capsys.readouterr().err
    assert "Socket timed out" in said
    assert (
        "Slurm has them nevertheless. Type the command again to follow them, or cancel them: scancel 1_1 1_2 1_3"
        in said
    )


def test_a_refusal_while_squeue_does_not_answer_claims_nothing(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    slurm.put("sbatch", "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1")
    slurm.put("squeue", f"[ ! -f {slurm.place}/sbatch.log ]")

    assert train("--detach") == 1

    said = capsys.readouterr().err
    assert "squeue does not answer, so nobody knows whether Slurm has them" in said
    assert "nothing was submitted" not in said


def test_an_array_that_slurm_runs_is_not_said_to_be_run_by_a_process_while_squeue_does_not_answer(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    """Which is asked again, and then they are followed."""
    train("--detach")
    slurm.queue(_1="RUNNING|None", _2="PENDING|Priority", _3="PENDING|Priority")
    answers = (slurm.place / "bin/squeue").read_text()
    fails_once = f"[ -f {slurm.place}/failed ] || {{ : > {slurm.place}/failed; exit 1; }}"
    (slurm.place / "bin/squeue").write_text(answers.replace("\n", f"\n{fails_once}\n", 1))
    capsys.readouterr()

    assert train("--detach") == 0

    said = capsys.readouterr().out
    assert "is waited for: its folder says queued, and squeue does not answer about its job 1_2" in said
    assert "another process" not in said
    assert len(slurm.calls("sbatch")) == 1


def test_sbatch_that_waits_for_a_place_in_the_queue_can_be_interrupted(slurm: Pretended, train: Train):
    # A shell would take all signals by itself.
    blocked = slurm.place / "blocked"
    (slurm.place / "bin/sbatch").write_text(
        f"#!{sys.executable}\nimport signal\n"
        f"open({str(blocked)!r}, 'w').write(str([*signal.pthread_sigmask(signal.SIG_BLOCK, ())]))\n"
        "raise SystemExit(1)\n"
    )

    train("--detach")

    assert blocked.read_text() == "[]"


def test_a_plan_needs_no_slurm_and_no_device_of_this_host(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    shutil.rmtree(slurm.place / "bin")

    assert train("device=cuda", "cluster.gpus_per_node=2", "--json", "--detach", command="plan") == 0

    jobs = json.loads(capsys.readouterr().out)["jobs"]
    assert [(job["device"], job["does"], job["learning_rate"]) for job in jobs] == [
        ("cuda x 2", "starts", float(rate)) for rate in RATES
    ]
    assert not (slurm.place / "outputs").exists()


def test_a_status_has_what_slurm_says_of_each_job_and_cancelling_takes_all(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    train("--detach")
    slurm.queue(_1="PENDING|Priority", _2="PENDING|JobArrayTaskLimit", _3="PENDING|Priority")
    capsys.readouterr()

    assert main(["status", "sweep-rates"]) == 0
    status = capsys.readouterr().out
    assert "0 of 3 jobs ended, 0 run, 3 in the queue" in status
    assert "1_2 PENDING (JobArrayTaskLimit)" in status
    assert main(["cancel", "sweep-rates"]) == 0

    assert slurm.calls("scancel") == ["1_1 1_2 1_3"]
    assert read_submission(slurm.run("0.001")) is None
    assert read_sweep(slurm.sweep) is not None


def test_a_job_that_slurm_has_started_is_cancelled_although_its_training_has_yet_to_begin(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    train("--detach")
    run = slurm.run("0.002")
    run.attempt(1).folder.mkdir(parents=True)
    write_json(run.attempt(1).outcome, replace(finished_after(3), ending=Ending.stopped))  # then it was requeued
    slurm.queue(_2="RUNNING|None")
    capsys.readouterr()

    assert main(["cancel", "sweep-rates/BASE_LR=0.002", "--wait", "0"]) == 0
    assert main(["cancel", "sweep-rates", "--wait", "0"]) == 0

    assert slurm.calls("scancel") == ["1_2", "1_2"]


def test_cancelling_while_squeue_does_not_answer_names_the_jobs(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    train("--detach")
    slurm.put("squeue", "exit 1")

    assert main(["cancel", "sweep-rates"]) == 1

    assert "nothing was cancelled. Type the command again once it answers, or: scancel 1_1 1_2 1_3" in (
        capsys.readouterr().err
    )
    assert slurm.calls("scancel") == []


def test_one_training_is_told_that_an_array_is_for_several(
    slurm: Pretended,  # noqa: ARG001
    demo_settings: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
):
    assert main(["train", *demo_settings, "device=cpu", "hydra/launcher=slurm_array"]) == 2
    assert "With -m they are: launcher train -m" in capsys.readouterr().err
    assert main(["train", *demo_settings, "device=cpu", "--detach"]) == 2
    assert "cluster.detach has no effect. Add -m hydra/launcher=slurm_array" in capsys.readouterr().err


def test_a_search_keeps_as_many_jobs_in_the_queue_as_are_asked_for(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("optuna")
    slurm.ends_with(replace(finished_after(6), work=replace(Work.of(6), metrics={"bbox/AP": 1.0})))

    assert train("hydra/sweeper=search", "search.n_trials=3", "cluster.max_parallel=2") == 0

    said = capsys.readouterr().out
    assert "search in Slurm: 2 jobs are in the queue at a time" in said
    assert "submitted as array 1: 2 jobs" in said
    assert "submitted as array 2: job 3" in said
    assert slurm.states == ["finished"] * 3


def test_a_search_submits_its_next_job_once_squeue_answers_again(slurm: Pretended, train: Train):
    pytest.importorskip("optuna")
    slurm.ends_with(replace(finished_after(6), work=replace(Work.of(6), metrics={"bbox/AP": 1.0})))
    squeue, fails = (slurm.place / "bin/squeue").read_text(), slurm.place / "fails"
    is_time = f"[ -s {slurm.place}/sbatch.log ] && [ ! -f {fails} ]"
    fails_once = f'case "$*" in *-u*) if {is_time}; then : > {fails}; exit 1; fi;; esac'
    (slurm.place / "bin/squeue").write_text(squeue.replace("\n", f"\n{fails_once}\n", 1))

    assert train("hydra/sweeper=search", "search.n_trials=2", "cluster.max_parallel=1") == 0

    assert fails.exists()
    assert len(slurm.calls("sbatch")) == 2
    assert slurm.states == ["finished"] * 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--detach"], "a search proposes each job by how those before it did, so its command has to stay"),
        (["search.n_trials=2000"], "The sweep has 2000 jobs, but an array of this Slurm can have 1000"),
        (["cluster.time=soon"], "cluster.time=soon is not a time"),
    ],
)
def test_a_search_that_slurm_cannot_have_is_refused_before_anything_is_created(
    slurm: Pretended, train: Train, capsys: pytest.CaptureFixture[str], more: list[str], words: str
):
    pytest.importorskip("optuna")

    assert train("hydra/sweeper=search", *more) == 2

    assert words in capsys.readouterr().err
    assert not list(slurm.place.rglob("sweep.json"))
    assert slurm.calls("sbatch") == []
