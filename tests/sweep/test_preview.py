from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.config.adjustment import Adjustment
from launcher.config.request import RunRequest
from launcher.errors import DataError, ExitCode
from launcher.pool.ledger import Known, Run, Wait
from launcher.sweep.preview import data_key, preview, preview_json, preview_table
from launcher.sweep.values import Sweep
from tests.launch.conducted import World, request_in
from tests.recorded_runs import begin
from tests.sweep.examples import a_job, a_sweep


def requests_for(sweep: Sweep) -> dict[str, RunRequest]:
    found = {}
    for job in sweep.jobs:
        rate = float(job.overrides[0].partition("=")[2])
        asked = request_in(sweep.folder)
        keys = asked.keys.with_([Adjustment(setting="SOLVER.BASE_LR", asked=None, planned=rate, reason="")])
        found[job.folder] = replace(asked, keys=keys)
    return found


@pytest.fixture
def keyed(monkeypatch):
    """With the learning rate that is swept among the keys."""
    from tests.launch import conducted

    monkeypatch.setitem(conducted.KEYS["SOLVER"], "BASE_LR", 0.1)


@pytest.mark.usefixtures("keyed")
def test_every_job_is_listed_with_what_it_would_do(tmp_path: Path):
    sweep, world = a_sweep(tmp_path), World()
    decisions = {"BASE_LR=0.1": Run(), "BASE_LR=0.2": Known(value=None), "BASE_LR=0.4": Wait(folder=tmp_path)}

    plans = preview(sweep, requests_for(sweep), decisions, world.session())

    assert [one.does for one in plans] == ["starts", "not repeated", "runs already"]
    assert [(one.device, one.batch, one.learning_rate, one.iterations) for one in plans] == [
        ("cpu", 2, rate, 100) for rate in (0.1, 0.2, 0.4)
    ]
    assert "BASE_LR=0.2  SOLVER.BASE_LR=0.2  not repeated  cpu" in preview_table(sweep, plans, is_drawn=False)
    assert [one["overrides"] for one in json.loads(preview_json(sweep, plans))["jobs"]] == [
        [f"SOLVER.BASE_LR={rate}"] for rate in (0.1, 0.2, 0.4)
    ]


@pytest.mark.usefixtures("keyed")
def test_devices_and_data_that_jobs_share_are_looked_at_once(tmp_path: Path):
    sweep, world = a_sweep(tmp_path), World()

    preview(sweep, requests_for(sweep), {job.folder: Run() for job in sweep.jobs}, world.session())

    assert (world.looked_at_data, world.looked_at_devices) == (1, 1)


@pytest.mark.usefixtures("keyed")
def test_what_is_wrong_with_the_data_of_all_jobs_is_said_once(tmp_path: Path):
    def refuse(_: RunRequest) -> None:
        raise DataError("no images")

    sweep, world = a_sweep(tmp_path), World(plan_data=refuse)

    with pytest.raises(DataError) as refused:
        preview(sweep, requests_for(sweep), {job.folder: Run() for job in sweep.jobs}, world.session())

    assert str(refused.value) == "no images"
    assert refused.value.exit_code == ExitCode.data_wrong


def test_only_what_the_data_follows_from_makes_it_another():
    one = request_in(Path("/runs"))
    faster = replace(one, keys=one.keys.with_([Adjustment(setting="SEED", asked=1, planned=2, reason="")]))
    other = replace(
        one, keys=one.keys.with_([Adjustment(setting="DATASETS.TRAIN", asked=[], planned=["b"], reason="")])
    )

    assert data_key(one) == data_key(faster)
    assert data_key(one) != data_key(other)


def test_a_seed_that_is_still_to_be_drawn_is_an_example(tmp_path: Path):
    begin(tmp_path / a_job().folder)

    assert "SEED=7, for example: the first start draws it" in preview_table(a_sweep(tmp_path), [], is_drawn=True)
    assert "\nSEED=7\n" in preview_table(a_sweep(tmp_path), [], is_drawn=False)
