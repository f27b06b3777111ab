from __future__ import annotations

import pytest

from launcher.config.adjustment import Adjustment
from launcher.run.plan import Report, RunPlan
from launcher.show.data_wait import data_wait_text
from tests.values import a_plan

REDUCED = Adjustment(setting="DATALOADER.NUM_WORKERS", asked=8, planned=2, reason="2 CPUs are available")


def with_workers(workers: int, *adjustments: Adjustment) -> RunPlan:
    keys = {"DATALOADER": {"NUM_WORKERS": workers}}
    return a_plan(keys, report=Report(adjustments=adjustments, warnings=(), notices=(), changed=()))


@pytest.mark.parametrize("waited", [0.0, 0.03, 0.2])
def test_a_short_wait_is_reported_without_advice(waited: float):
    assert data_wait_text(waited, with_workers(0)) == f"{100 * waited:.0f} % of the time"


@pytest.mark.parametrize(
    ("plan", "advice"),
    [
        (with_workers(0), "DATALOADER.NUM_WORKERS=2 loads batches while the model computes (now 0)"),
        (with_workers(4), "DATALOADER.NUM_WORKERS=8 loads more batches at once (now 4)"),
        (
            with_workers(2, REDUCED),
            "DATALOADER.NUM_WORKERS is 2 instead of 8 (2 CPUs are available); more of that, smaller images "
            "(INPUT.MIN_SIZE_TRAIN) or a faster disk help",
        ),
    ],
    ids=["none", "some", "reduced"],
)
def test_a_long_wait_comes_with_the_setting_that_helps(plan: RunPlan, advice: str):
    assert data_wait_text(0.34, plan) == f"34 % of the time: {advice}"
