from __future__ import annotations

import pytest

from launcher.launch.time_limit import MARGIN_S, stop_at


@pytest.mark.parametrize(
    ("limit_s", "job_ends", "expected"),
    [
        (0.0, None, 0.0),
        (7200.0, None, 1000 + 7200 - MARGIN_S),
        (60.0, None, 1000 + 54.0),
        (0.0, 8200.0, 8200 - MARGIN_S),
        (7200.0, 1600.0, 1600 - 60.0),
        (60.0, 99999.0, 1054.0),
    ],
)
def test_a_run_stops_some_time_before_the_first_of_its_ends(limit_s: float, job_ends: float | None, expected: float):
    assert stop_at(began=1000.0, limit_s=limit_s, job_ends=job_ends) == expected
