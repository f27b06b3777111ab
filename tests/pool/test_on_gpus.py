"""Jobs on a simulated machine with four GPUs, found as on a real one."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from launcher.launch.claims import FOLDER_NAME, claim, look
from tests.fakegpu import FakeGpu, Gpu, Machine, uuid, why_not_compiled
from tests.pool.conftest import App

pytestmark = pytest.mark.slow
GPUS = [uuid(index) for index in range(4)]
BODY = """
from launcher.launch.claims import claims_folder, handed_over, look
gpus = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
ours = handed_over(os.environ)
note = {"gpus": gpus, "began": time.monotonic(), "ours": sorted(ours.uuids), "locks": len(ours.descriptors)}
note["seen_by_others"] = sorted(look(gpus, claims_folder()))
(HERE / f"{cfg.x}.began").touch()
time.sleep(cfg.s)
note["ended"] = time.monotonic()
(HERE / f"{cfg.x}.json").write_text(json.dumps(note))
"""


@pytest.fixture(scope="module")
def fakegpu(tmp_path_factory: pytest.TempPathFactory) -> FakeGpu:
    if why_not := why_not_compiled():
        pytest.skip(why_not)
    return FakeGpu(tmp_path_factory.mktemp("fakegpu"))


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    return tmp_path / FOLDER_NAME


@pytest.fixture
def on_gpus(app: Callable[..., App], fakegpu: FakeGpu, tmp_path: Path) -> App:
    written = app(BODY)
    environ = fakegpu.environ({**written.environ, "TMPDIR": str(tmp_path)}, Machine(gpus=(Gpu(),) * 4), alive=True)
    return replace(written, environ=environ)


def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("[0-9].json"))]


def test_no_two_jobs_share_a_gpu_all_are_used_and_that_of_somebody_else_is_left_alone(on_gpus: App, claims: Path):
    with claim([GPUS[2]], claims):
        done = on_gpus.sweep("+x=0,1,2,3,4,5", "+s=1")
    found = notes(on_gpus.folder)

    assert done.returncode == 0, done.stderr
    assert len(found) == 6
    assert {gpu for note in found for gpu in note["gpus"]} == {GPUS[0], GPUS[1], GPUS[3]}
    for gpu in GPUS:
        turns = sorted((note["began"], note["ended"]) for note in found if note["gpus"] == [gpu])
        assert all(before[1] < after[0] for before, after in pairwise(turns))
    for note in found:
        assert note["gpus"] == note["ours"] == note["seen_by_others"]
        assert note["locks"] == 1
    assert look(GPUS, claims) == {}, "each claim has ended with its job"


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_one_gpu_serves_one_job_after_the_other(on_gpus: App, claims: Path, start: str):
    """The claim of the first job ends with it, although the server that was made for it goes on."""
    done = on_gpus.sweep("+x=0,1,2", "+s=0", "hydra.launcher.devices=[1]", f"hydra.launcher.start={start}", limit_s=60)

    assert done.returncode == 0, done.stderr
    assert [note["gpus"] for note in notes(on_gpus.folder)] == [[GPUS[1]]] * 3
    assert look(GPUS, claims) == {}


def test_a_job_keeps_its_gpus_although_the_controller_was_killed(on_gpus: App, claims: Path):
    controller = on_gpus.start("+x=0,1,2", "+s=4", "hydra.launcher.gpus_per_job=2", "hydra.launcher.devices=[1,3,0,2]")
    until = time.monotonic() + 150
    while len(list(on_gpus.folder.glob("*.began"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)

    os.kill(controller.pid, signal.SIGKILL)
    controller.wait()
    during = look(GPUS, claims)
    while len(notes(on_gpus.folder)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)

    assert sorted(during) == GPUS
    assert sorted(sorted(note["gpus"]) for note in notes(on_gpus.folder)) == [[GPUS[0], GPUS[2]], [GPUS[1], GPUS[3]]]
    assert look(GPUS, claims) == {}


def test_a_sweep_is_refused_where_others_have_every_gpu(on_gpus: App, claims: Path):
    with claim(GPUS, claims):
        done = on_gpus.sweep("+x=0,1", "+s=0")

    assert done.returncode != 0
    assert "too few are free: GPU 0 is taken by another launcher, process" in done.stderr
    assert not notes(on_gpus.folder)
