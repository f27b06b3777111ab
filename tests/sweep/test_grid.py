from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.errors import RequestError
from launcher.pool import register as register_pool
from launcher.sweep import grid
from launcher.sweep.books import Books
from launcher.sweep.grid import points_of
from launcher.sweep.stored import read_sweep
from launcher.sweep.watch import Watcher

DATA = "dataset=coco_2017"
MODEL = "model=COCO-Detection/rpn_R_50_FPN_1x"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("A=interval(0,1)", r"A=interval\(0,1\): a grid takes values.*\n.*hydra/sweeper=search"),
        ("A=range(3,3)", r"A=range\(3,3\) has no value, so the sweep has no job"),
    ],
)
def test_what_is_no_grid_is_refused_with_the_way_out(typed: str, message: str):
    with pytest.raises(RequestError, match=message):
        points_of(OverridesParser.create().parse_overrides([typed]))


def run_grid(arguments: list[str], task, *, only_looks: bool = False) -> Books:
    """A sweep in this process: the launcher that runs jobs in others has tests of its own."""
    register_pool()
    grid.register()
    typed = take_apart(arguments).overrides
    words = ["launcher", "train", *arguments]
    books = Books(command=words, typed=typed, watcher=Watcher(Console(quiet=True)), only_looks=only_looks)
    with books:
        run_hydra(["-m", "hydra/launcher=basic", *arguments], task, books=books)
    return books


def test_every_job_runs_in_its_folder_with_one_seed(tmp_path: Path):
    requests: list[RunRequest] = []

    books = run_grid([DATA, MODEL, "SOLVER.BASE_LR=0.1,0.2", f"run.root={tmp_path}"], requests.append)

    folder = tmp_path / "rpn_R_50_FPN_1x-coco_2017" / "sweep-BASE_LR"
    assert [request.typed.folder for request in requests] == [f"{folder}/BASE_LR={rate}" for rate in ("0.1", "0.2")]
    assert {request.keys["SEED"] for request in requests} == {books.sweep.seed}
    assert [job.folder for job in read_sweep(folder).jobs] == ["BASE_LR=0.1", "BASE_LR=0.2"]
    assert not any("hydra" in text for request in requests for text in request.typed.overrides)


def test_one_wrong_value_refuses_the_sweep_and_every_problem_is_named(tmp_path: Path):
    requests: list[RunRequest] = []
    wrong = [DATA, MODEL, "SOLVER.BASE_LR=0.1,-1", "SOLVER.MAX_ITER=0", "run.retries=-1", f"run.root={tmp_path}"]

    with pytest.raises(RequestError) as refused:
        run_grid(wrong, requests.append)

    assert str(refused.value).splitlines() == [
        "run.retries=-1: must be >= 0 (0 never retries).",
        "SOLVER.MAX_ITER=0: must be >= 1.",
        "SOLVER.BASE_LR=-1: SOLVER.BASE_LR=-1: must be >= 0.",
        "No job was started.",
    ]
    assert requests == []
    assert list(tmp_path.iterdir()) == []


def test_looking_composes_every_job_and_runs_none(tmp_path: Path):
    requests: list[RunRequest] = []

    books = run_grid(
        [DATA, MODEL, "SEED=1,2", "SOLVER.GAMMA=0.1,0.2", f"run.root={tmp_path}"], requests.append, only_looks=True
    )

    assert len(books.requests) == 4
    assert books.sweep.seed is None
    assert requests == []
    assert list(tmp_path.iterdir()) == []


def test_groups_are_swept_and_what_is_fixed_may_be_a_path_with_anything_in_it(tmp_path: Path):
    requests: list[RunRequest] = []
    root = tmp_path / "it's a, b=c"

    run_grid([DATA, "experiment=coco,coco_quick", f'run.root="{root}"'], requests.append)

    folder = root / "experiments" / "sweep-dataset=coco_2017,experiment"
    folders = [Path(request.typed.folder) for request in requests]
    assert [path.name for path in folders] == ["experiment=coco", "experiment=coco_quick"]
    assert {path.parent.parent for path in folders} == {folder.parent}


def test_values_given_twice_are_one_job(tmp_path: Path):
    requests: list[RunRequest] = []

    run_grid([DATA, MODEL, "SOLVER.BASE_LR=0.1,0.1", f"run.root={tmp_path}"], requests.append)

    assert len(requests) == 1


def test_what_a_job_raises_is_raised_at_the_end_with_its_type(tmp_path: Path):
    def task(request: RunRequest) -> None:
        if request.keys["SOLVER.BASE_LR"] == 0.1:
            raise RequestError("no")

    with pytest.raises(RequestError, match=r"^BASE_LR=0\.1: no$"):
        run_grid([DATA, MODEL, "SOLVER.BASE_LR=0.1,0.2", f"run.root={tmp_path}"], task)
