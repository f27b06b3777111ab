"""The labels under which TensorBoard shows runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.run.event_folders import label_events, link_events

EVENTS = "events.out.tfevents.1.host.2.0"


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def run_in(folder: Path) -> Path:
    for name in ("tensorboard", "attempts/1", "checkpoints"):
        (folder / name).mkdir(parents=True)
    (folder / "tensorboard" / EVENTS).write_text("")
    (folder / "attempts/1" / EVENTS).write_text("")
    return folder


def test_runs_and_sweeps_are_called_by_their_names(outputs: Path):
    for name in ("demo/default", "demo/sweep/lr=0.1,b=2", "demo/sweep/lr=0.2,b=2"):
        run_in(outputs / name)

    labelled = label_events([outputs])

    assert list(labelled) == ["demo/default", "demo/sweep/lr=0.1,b=2", "demo/sweep/lr=0.2,b=2"]
    assert labelled["demo/default"] == outputs / "demo/default/tensorboard"
    assert list(label_events([outputs / "demo/sweep"])) == ["lr=0.1,b=2", "lr=0.2,b=2"]


def test_a_run_alone_has_its_name_too(outputs: Path):
    run = run_in(outputs / "demo/default")

    assert list(label_events([run])) == ["demo/default"]
    assert list(label_events([run / "tensorboard"])) == ["demo/default"]


def test_several_folders_are_told_apart(outputs: Path, tmp_path: Path):
    one = run_in(outputs / "demo/a")
    run_in(tmp_path / "elsewhere" / "x" / "a")

    assert list(label_events([one, tmp_path / "elsewhere"])) == ["demo/a", "elsewhere/x/a"]


def test_event_files_of_others_and_a_run_with_its_own_beside_are_there(outputs: Path):
    plain = outputs / "plain"
    plain.mkdir(parents=True)
    (plain / EVENTS).write_text("")
    run_in(plain)

    assert label_events([outputs]) == {"plain": plain, "plain/tensorboard": plain / "tensorboard"}


def test_links_follow_what_begins_and_what_is_removed(outputs: Path, tmp_path: Path):
    run, links = run_in(outputs / "demo/a"), tmp_path / "links"
    links.mkdir()

    link_events(label_events([outputs]), links)
    run_in(run / "b")  # of another run below it
    (run / "tensorboard" / EVENTS).rename(run / "tensorboard" / f"{EVENTS}.later")
    link_events(label_events([outputs]), links)

    assert sorted(str(file.relative_to(links)) for file in links.rglob("*.tfevents.*")) == [
        f"demo/a/b/{EVENTS}",
        f"demo/a/{EVENTS}.later",
    ]
    assert [file for file in run.rglob("*") if file.is_symlink()] == []
