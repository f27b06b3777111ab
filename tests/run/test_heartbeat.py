from __future__ import annotations

from pathlib import Path

import pytest

from launcher.run.heartbeat import ENDING, SHORT_PATIENCE_S, SMOKE, SUSPENDED_S, Beat, Heartbeat, Watch, read_beat


def test_the_last_heartbeat_is_read_completely_also_after_a_longer_one(tmp_path: Path):
    heart = Heartbeat(tmp_path / "heartbeat")
    heart.beat("building model and data loader")
    heart.beat("training", 12)
    heart.beat("evaluation")

    assert read_beat(tmp_path / "heartbeat") == Beat(count=3, iterations=12, stage="evaluation")


def test_without_a_file_or_a_place_for_it_there_is_none(tmp_path: Path):
    Heartbeat(tmp_path / "no folder" / "heartbeat").beat("training", 1)

    assert read_beat(tmp_path / "no folder" / "heartbeat") is None


def test_a_training_that_makes_progress_is_never_hung(tmp_path: Path):
    heart, watch = Heartbeat(tmp_path / "h"), Watch(tmp_path / "h", hang_s=10, now=0.0)

    for second in range(0, 100, 9):
        heart.beat("training", second)
        assert watch.hung_in(float(second)) == ""


def test_one_that_stands_still_is_hung_in_what_it_was_at(tmp_path: Path):
    heart, watch = Heartbeat(tmp_path / "h"), Watch(tmp_path / "h", hang_s=10, now=0.0)
    heart.beat("training", 3)

    assert [watch.hung_in(now) for now in (5.0, 14.9, 15.1)] == ["", "", "training"]


@pytest.mark.parametrize(
    ("hang_s", "stage", "hung"),
    [(0.0, "training", ""), (0.0, SMOKE, SMOKE), (9e9, SMOKE, SMOKE), (9e9, ENDING, ENDING)],
)
def test_only_what_takes_milliseconds_has_a_deadline_of_its_own(tmp_path: Path, hang_s: float, stage: str, hung: str):
    Heartbeat(tmp_path / "h").beat(stage)
    watch = Watch(tmp_path / "h", hang_s=hang_s, now=0.0)

    looks = [watch.hung_in(now) for now in range(0, int(SHORT_PATIENCE_S) + 2, 1)]

    assert looks[-1] == hung
    assert not any(looks[:-2])


def test_a_worker_without_any_heartbeat_is_hung_too(tmp_path: Path):
    assert Watch(tmp_path / "h", hang_s=10, now=0.0).hung_in(11.0) == "start"


def test_a_launcher_that_was_suspended_does_not_count_that_time(tmp_path: Path):
    Heartbeat(tmp_path / "h").beat("training", 3)
    watch = Watch(tmp_path / "h", hang_s=10, now=0.0)
    assert watch.hung_in(1.0) == ""

    woken = 1.0 + SUSPENDED_S + 1

    assert watch.hung_in(woken) == ""
    assert watch.hung_in(woken + 8) == ""
    assert watch.hung_in(woken + 11) == "training"
