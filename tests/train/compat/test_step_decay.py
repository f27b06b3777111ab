from __future__ import annotations

import pytest
from fvcore.common.param_scheduler import StepParamScheduler, StepWithFixedGammaParamScheduler

from launcher.train.compat.step_decay import value_at


@pytest.mark.parametrize(("where", "rate"), [(0.0, 1.0), (0.34, 0.1), (0.99, 0.01), (1.0, 0.01)])
def test_the_rate_at_the_end_is_that_of_the_last_step(where: float, rate: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(StepParamScheduler, "__call__", value_at)
    scheduler = StepWithFixedGammaParamScheduler(base_value=1.0, num_decays=2, gamma=0.1, num_updates=9)

    assert scheduler(where) == pytest.approx(rate)
