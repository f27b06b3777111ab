from __future__ import annotations

import pytest

from launcher.config.request import Rerun
from launcher.sweep.policy import Turn, turn_of
from launcher.sweep.values import JobState
from tests.sweep.examples import standing

ALL = tuple(Rerun)


@pytest.mark.parametrize(
    ("state", "rerun", "would_fail_again", "turn"),
    [
        *((JobState.planned, rerun, False, Turn.run) for rerun in ALL),
        *((JobState.stopped, rerun, False, Turn.run) for rerun in ALL),
        *((JobState.running, rerun, False, Turn.adopt) for rerun in ALL),
        *((JobState.finished, rerun, False, Turn.skip) for rerun in ALL),
        *((JobState.pruned, rerun, False, Turn.skip) for rerun in ALL),
        (JobState.failed, Rerun.unfinished, False, Turn.run),
        (JobState.failed, Rerun.unfinished, True, Turn.skip),
        (JobState.failed, Rerun.failed, False, Turn.run),
        (JobState.failed, Rerun.failed, True, Turn.run),
        (JobState.failed, Rerun.none, False, Turn.skip),
        (JobState.failed, Rerun.none, True, Turn.skip),
    ],
)
def test_what_the_same_command_does_with_a_job(state: JobState, rerun: Rerun, would_fail_again: bool, turn: Turn):
    assert turn_of(standing(0, state, would_fail_again=would_fail_again), rerun) is turn
