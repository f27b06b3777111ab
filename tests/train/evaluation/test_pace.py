from __future__ import annotations

import logging

import pytest

from launcher.train.evaluation.pace import Pace


@pytest.mark.parametrize(
    ("seconds_per_batch", "reported"),
    [
        (0.1, []),
        (1.0, ["evaluation: 30 of 100 batches  eta 0:01:10", "evaluation: 60 of 100 batches  eta 0:00:40"]),
        (40.0, [f"evaluation: {done} of 100 batches  eta " for done in range(1, 100)]),
    ],
)
def test_a_long_evaluation_says_how_far_it_is_about_twice_a_minute(
    caplog: pytest.LogCaptureFixture, seconds_per_batch: float, reported: list[str]
):
    now = [100.0]
    pace = Pace(100, clock=lambda: now[0])

    with caplog.at_level(logging.INFO):
        for done in range(1, 90 if seconds_per_batch < 40 else 100):
            now[0] += seconds_per_batch
            pace.note(done)

    assert len(caplog.messages) == len(reported)
    assert all(message.startswith(start) for message, start in zip(caplog.messages, reported, strict=True))
