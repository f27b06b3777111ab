"""The batch script of an array: which run an element trains, and by what name Slurm's commands know it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launcher.cluster.array import problems_with_number
from launcher.cluster.job import Array
from launcher.cluster.script import array_text, batch_script, directives
from tests.cluster.hostile import STRINGS
from tests.cluster.jobs import a_job

RUN = Path("/runs/sweep/a")


@pytest.mark.parametrize(
    ("numbers", "at_once", "text"),
    [((1, 2, 3), 0, "1-3"), ((3, 1, 2, 5, 7, 8), 0, "1-3,5,7-8"), ((4,), 2, "4%2"), ((1, 2), 4, "1-2%4")],
)
def test_elements_are_numbered_as_the_jobs_are_and_throttled(numbers: tuple[int, ...], at_once: int, text: str):
    assert array_text(Array(runs=dict.fromkeys(numbers, RUN), at_once=at_once)) == text


def head_of(script: str) -> str:
    return script.partition("ours()")[0]


@pytest.mark.parametrize("text", STRINGS)
def test_an_element_finds_its_run_whatever_that_is_called(tmp_path: Path, text: str):
    array = Array(runs={1: RUN, 2: Path(f"/runs/{text}")}, at_once=0)
    script = batch_script(a_job(tmp_path, array=array))

    done = subprocess.run(
        ["bash", "-c", f'{head_of(script)}\nprintf "%s\\n" "$run" "$id"'],
        env={"PATH": "/bin", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "17"},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == f"/runs/{text}\n17_2\n"
    assert list(tmp_path.iterdir()) == []


def test_no_command_of_slurms_gets_a_number_that_may_mean_all_elements(tmp_path: Path):
    script = batch_script(a_job(tmp_path, array=Array(runs={1: RUN}, at_once=0)))

    assert "SLURM_JOB_ID" not in script
    assert 'scontrol requeue "$id"' in script


def test_an_array_has_an_output_for_each_element_in_the_sweeps_folder(tmp_path: Path):
    lines = list(directives(a_job(tmp_path, array=Array(runs={1: RUN, 2: RUN}, at_once=1))))

    assert f'#SBATCH --chdir="{tmp_path}"' in lines
    assert "#SBATCH --output=cluster/slurm-%A_%a.out" in lines
    assert "#SBATCH --array=1-2%1" in lines


@pytest.mark.parametrize(
    ("number", "largest", "is_refused"), [(1000, 1000, False), (1001, 1000, True), (9, None, False)]
)
def test_a_sweep_that_no_array_can_have_is_refused(number: int, largest: int | None, is_refused: bool):
    assert bool([*problems_with_number(number, largest)]) is is_refused


def test_elements_write_their_outputs_themselves_where_slurm_would_misread_the_path():
    script = batch_script(a_job(Path("/runs/50%"), array=Array(runs={1: RUN}, at_once=0)))

    assert "#SBATCH --output=/dev/null" in script
    assert 'exec >> /runs/50%/cluster/"slurm-$id.out" 2>&1' in script
