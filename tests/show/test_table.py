"""Tables that fit the screen: each of the launcher's, with long names, in 80 columns and without breaking a word."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from launcher.config.adjustment import Adjustment
from launcher.run.attempts import Attempt, End, Started
from launcher.run.difference import Difference, RunDifference
from launcher.run.plan import PlanWarning, Report
from launcher.run.status import RunStatus
from launcher.run.summary import RunSummary, Score, State
from launcher.show.difference import difference_text
from launcher.show.evaluation import evaluation_lines
from launcher.show.run import show_plan
from launcher.show.runs import runs_table
from launcher.show.status import status_text
from launcher.show.table import table, wrapped
from tests.device.recorded import NO_GPU
from tests.show.test_doctor import shown as doctor_screen
from tests.show.test_evaluation import SUMMARY
from tests.values import a_plan, keys_shown_in_plan

NAME = "mask_rcnn_R_50_FPN_1x-my_fruit/SOLVER.BASE_LR=0.0025,SOLVER.IMS_PER_BATCH=4"
WHY = "the NVIDIA driver hung or crashed a CPU run, and the training was ended without a checkpoint after 30 minutes"
RUN = RunSummary(
    folder=Path("/data/outputs") / NAME,
    state=State.failed,
    code="run.out_of_memory",
    iterations=90_000,
    total=270_000,
    score=Score(metric="keypoints/AP", latest=37.21, best=38.0),
    device="cuda x 8",
    began=1.0,
    seen=9.0,
    seconds=1e6,
    num_attempts=3,
    job="123456_17",
)
ATTEMPT = Attempt(
    number=1,
    started=Started(
        at=1.0, host="gpu17", process=3, iterations=270_000, device="cuda x 8", scheduler="slurm", job_id="123456_17"
    ),
    end=End(
        ending="out_of_memory",
        exit_code=76,
        code="run.out_of_memory",
        explanation=WHY,
        traceback="",
        seconds=1e6,
        iterations=9,
        metrics={},
    ),
    beat=None,
    seen=9.0,
    saved=False,
    is_pruned=False,
)
STATUS = RunStatus(
    summary=RUN,
    attempts=(ATTEMPT,),
    holder=None,
    pace=None,
    memory_mib=None,
    last_lines=(),
    job_state="",
    is_in_queue=False,
)
KEY = "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS"
DIFFERENCES = RunDifference(
    settings=(Difference(name=KEY, one="((10, 10, 5, 5), (20, 20, 10, 10))", other="((1, 1, 1, 1), (2, 2, 2, 2))"),),
    metrics=(Difference(name="bbox/AP-a class with a long name", one=1.5, other=None),),
    versions=(),
    code=(),
    data=(),
)


def plan_on(width: int) -> str:
    reports = [
        Adjustment(setting=KEY, asked="polygon", planned="bitmask", reason=f"{WHY}; {WHY}"),
        Adjustment(setting="SEED", asked=-1, planned=123456789, reason="drawn"),
    ]
    warning = PlanWarning(code="plan.late_steps", text=f"{WHY}, {WHY}")
    report = Report(adjustments=tuple(reports), warnings=(warning,), notices=(WHY,), changed=())
    plan = a_plan(keys_shown_in_plan(), folder="/r", report=report)
    printed = io.StringIO()
    console = Console(file=printed, width=width, soft_wrap=True, force_terminal=True, color_system=None)
    show_plan(plan, console, composition=True)
    return printed.getvalue()


TABLES: dict[str, Callable[[], str]] = {
    "plan": lambda: plan_on(80),
    "runs": lambda: runs_table([RUN, replace(RUN, state=State.running, job="")], lambda _: NAME, 1e7, width=80),
    "status": lambda: status_text(STATUS, NAME, 10.0, width=80),
    "eval": lambda: "\n".join(evaluation_lines(replace(SUMMARY, dataset="a_data_set_with_a_long_name_val"), "s.json")),
    "diff": lambda: difference_text(DIFFERENCES, NAME, f"{NAME},SEED=3", width=80),
    "doctor": lambda: doctor_screen(NO_GPU, width=80),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_fits_80_columns(name: str):
    lines = TABLES[name]().splitlines()

    too_long = [line for line in lines if cell_len(line) > 80]
    # A path, and a command that somebody copies, are in one piece.
    assert [line for line in too_long if len(line.split()) > 2 and ": launcher " not in line] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plan", [KEY, *WHY.split(), '"polygon"', "123456789"]),
        ("runs", [NAME, "[run.out_of_memory]", "90000/270000", "keypoints/AP", "123456_17"]),
        ("status", [f"{NAME}:", "[run.out_of_memory]", *WHY.split()]),
        ("diff", [KEY, NAME, f"{NAME},SEED=3", "bbox/AP-a"]),
    ],
)
def test_no_word_is_broken(name: str, words: list[str]):
    shown = TABLES[name]().replace("[run.out_of_memory])", "[run.out_of_memory]").split()

    assert [word for word in words if word not in [part.rstrip(",;)").lstrip("(") for part in shown] + shown] == []


ROWS = [["run", "state", "end"], ["demo/a", "stopped", "asked to stop by SIGTERM, and saved"], ["b", "failed", ""]]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            None,
            ["run     state    end", "demo/a  stopped  asked to stop by SIGTERM, and saved", "b       failed"],
        ),
        (
            40,
            [
                "run     state    end",
                "demo/a  stopped  asked to stop by",
                "                 SIGTERM, and saved",
                "b       failed",
            ],
        ),
        (
            26,
            [
                "run",
                "demo/a",
                "    state stopped",
                "    end asked to stop by",
                "      SIGTERM, and saved",
                "b",
                "    state failed",
            ],
        ),
    ],
)
def test_cells_wrap_first_and_then_go_below_their_name(width: int | None, lines: list[str]):
    assert table(ROWS, width=width).splitlines() == lines


def test_a_file_gets_whole_lines():
    assert "\n" not in wrapped(WHY, width=None)
    assert len(runs_table([RUN], lambda _: NAME, 1e7).splitlines()) == 2


def test_wide_characters_count_as_wide():
    rows = [["名前の長いクラス", "x y z w v u t s r q p"], ["b", "c"]]

    assert max(map(cell_len, table(rows, width=36).splitlines())) <= 36
