from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.config.request import RunRequest, RunSettings, SweepSettings
from launcher.run.naming import LONGEST_NAME
from launcher.sweep.naming import job_name, same_sweep, sweep_folder
from tests.values import TYPED, a_request

KEYS = {
    "SEED": -1,
    "MODEL": {"META_ARCHITECTURE": "RetinaNet", "WEIGHTS": ""},
    "SOLVER": {"BASE_LR": 0.1, "MAX_ITER": 9, "IMS_PER_BATCH": 2},
    "DATASETS": {"TRAIN": ["fruits_train"], "TEST": []},
}
RATE, BATCH = "SOLVER.BASE_LR", "SOLVER.IMS_PER_BATCH"


def asked(*overrides: str, experiment: str = "demo", **settings: object) -> RunRequest:
    typed = replace(TYPED, experiment=experiment, overrides=overrides)
    return a_request(KEYS, **{"typed": typed, "run": RunSettings(root="/runs"), **settings})


@pytest.mark.parametrize(
    ("fixed", "swept", "folder"),
    [
        (("experiment=demo",), (RATE,), "demo/sweep-BASE_LR"),
        (("experiment=demo",), (BATCH, RATE), "demo/sweep-BASE_LR,IMS_PER_BATCH"),
        (("experiment=demo", "SOLVER.MAX_ITER=9"), (RATE,), "demo/sweep-BASE_LR,MAX_ITER=9"),
        (("experiment=demo", "device=cpu", "pool.max_parallel=2", "sweep.keep=best:1"), (RATE,), "demo/sweep-BASE_LR"),
        (("experiment=demo",), ("model",), "demo/sweep-model"),
        (("experiment=demo",), (), "demo/sweep-default"),
        ((), ("experiment",), "experiments/sweep-experiment"),
    ],
)
def test_a_sweep_is_called_after_its_keys_and_after_what_its_jobs_share(fixed, swept, folder):
    assert sweep_folder(asked(*fixed), fixed, swept) == Path("/runs", folder)


def test_a_value_that_is_swept_is_no_part_of_the_name_of_the_sweep():
    one = asked("experiment=demo", "SOLVER.BASE_LR=0.1")
    other = asked("experiment=demo", "SOLVER.BASE_LR=0.2")

    assert sweep_folder(one, ("experiment=demo",), (RATE,)) == sweep_folder(other, ("experiment=demo",), (RATE,))


def test_a_model_that_is_swept_is_no_part_of_the_folder_above():
    of_job = asked("model=COCO-Detection/rpn_R_50_FPN_1x", experiment="")

    assert sweep_folder(of_job, (), ("model",)) == Path("/runs/models-fruits/sweep-model")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"sweep": SweepSettings(name="mine")}, "sweep-mine"),
        ({"run": RunSettings(root="/runs", name="mine")}, "mine"),
        ({"run": RunSettings(root="/runs", name="x"), "sweep": SweepSettings(name="mine")}, "sweep-mine"),
    ],
)
def test_a_name_that_was_given_counts(settings, name):
    assert sweep_folder(asked(**settings), ("experiment=demo",), (RATE,)).name == name


def test_a_name_too_long_for_a_folder_ends_with_a_digest_of_all_of_it():
    many = tuple(f"SOLVER.A_VERY_LONG_SETTING_{number}" for number in range(9))

    one, other = (sweep_folder(asked(), (), keys).name for keys in (many, (*many[:-1], "SOLVER.OTHER")))

    assert len(one) <= LONGEST_NAME + len("sweep-") + 9
    assert one != other


@pytest.mark.parametrize(
    ("overrides", "repeats", "name"),
    [
        (["SOLVER.BASE_LR=0.1"], None, "BASE_LR=0.1"),
        (["SOLVER.BASE_LR=0.1"], 8, "BASE_LR=0.1,SEED=8"),
        ([], None, "default"),
        ([], 8, "default,SEED=8"),
        (["run.name=a"], None, "a"),
        (["run.name='1.50'", "SOLVER.BASE_LR=0.1"], None, "1.50,BASE_LR=0.1"),
        (["device=cpu"], None, "device=cpu"),
        (["DATALOADER.NUM_WORKERS=2"], None, "NUM_WORKERS=2"),
        (["+experiment=one"], None, "experiment=one"),
    ],
)
def test_a_job_is_called_after_everything_that_is_swept(overrides, repeats, name):
    assert job_name(asked(), overrides, repeats=repeats).replace("DATALOADER.", "") == name


def test_jobs_with_files_of_the_same_name_have_folders_of_their_own():
    one, other = (job_name(asked(), [f"MODEL.WEIGHTS=/{place}/best.pth"], repeats=None) for place in "ab")

    assert one != other
    assert one.startswith("WEIGHTS=best-")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("SOLVER.MAX_ITER=9",), ("device=cpu", "SOLVER.MAX_ITER=9"), True),
        (("SOLVER.MAX_ITER=9",), ("SOLVER.MAX_ITER=10",), False),
        (("SEED=1",), (), False),
    ],
)
def test_what_makes_another_run_makes_another_sweep(one, other, same):
    assert same_sweep(one, other) is same
