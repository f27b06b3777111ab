"""The worker that is started before a command line is composed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from launcher.cli.early import importing_environment, needs_worker, started_ahead
from launcher.cli.main import COMMANDS
from launcher.cli.training import _executing, make_board
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.data.plan import data_environment
from launcher.errors import ExitCode
from launcher.run.handover import FIRST, Worker, with_short_waits
from tests.conftest import REPOSITORY
from tests.fakegpu import FakeGpu, Gpu, Machine, why_not_compiled


@pytest.mark.parametrize(
    "words",
    [
        ("train", "experiment=coco"),
        ("train", "experiment=coco", "--config-dir", "conf", "device=cpu"),
        ("train", "--config-dir=conf", "experiment=mine"),
        ("eval", "coco/default", "--json"),
        ("predict", "coco/default", "photos", "--out", "found", "--threshold=0.3"),
    ],
)
def test_what_trains_or_uses_a_model_needs_a_worker(words: Sequence[str]):
    assert COMMANDS[words[0]].starts_ahead
    assert needs_worker(words[1:])


@pytest.mark.parametrize(
    "words",
    [
        ("train",),
        ("train", "--help"),
        ("train", "experiment=coco", "--cfg", "job"),
        ("train", "experiment=coco", "--info=plugins"),
        ("train", "experiment=coco", "--in-place"),
        ("train", "-m", "SOLVER.BASE_LR=0.1,0.2"),
        ("eval", "a", "b", "--compare"),
        ("plan", "experiment=coco"),
        ("submit", "experiment=coco"),
        ("resume", "coco/default"),
        ("doctor",),
    ],
)
def test_other_commands_start_none(words: Sequence[str]):
    assert not (COMMANDS[words[0]].starts_ahead and needs_worker(words[1:]))


@pytest.mark.parametrize(
    ("environ", "typed"),
    [
        ({}, ()),
        ({"DETECTRON2_DATASETS": "~/data"}, ()),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, ("dataset.root=here",)),
        ({}, ("dataset.root=first", "dataset.root=~/second")),
    ],
)
def test_the_guess_is_what_composing_comes_to(
    environ: Mapping[str, str], typed: Sequence[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    guessed = importing_environment(("experiment=coco", *typed), os.environ)

    composed: list[RunRequest] = []
    run_hydra(["experiment=coco", *typed], composed.append)
    assert guessed == with_short_waits({**os.environ, **data_environment(composed[0].dataset)})


def test_on_one_core_none_is_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("launcher.cli.early.num_cpus", lambda: 1)
    with started_ahead(["experiment=coco"], os.environ):
        assert FIRST.take() is None


def test_a_training_in_place_keeps_none_waiting():
    composed: list[RunRequest] = []
    run_hydra(["experiment=coco", "run.in_place=true"], composed.append)
    with FIRST.started(lambda: Worker(os.environ, None)), _executing(composed[0], make_board(composed[0])):
        assert FIRST.take() is None


@pytest.mark.usefixtures("capfd")
@pytest.mark.parametrize(("words", "stream"), [(("coco/default",), 1), (("coco/default", "--json"), 2)])
def test_results_as_json_are_alone_on_standard_output(
    words: Sequence[str], stream: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("launcher.cli.early.num_cpus", lambda: 2)
    with started_ahead(words, os.environ):
        first = FIRST.take()
        assert first is not None
        prints_to = os.readlink(f"/proc/{first.process.pid}/fd/1")
        first.dismiss()

    assert prints_to == os.readlink(f"/proc/self/fd/{stream}")


COUNTING = """
import sys
from launcher.run import handover

class Counted(handover.Worker):
    def __init__(self, *given, **named):
        print("WORKER", file=sys.stderr)
        super().__init__(*given, **named)

handover.Worker = Counted
from launcher.cli.main import main_and_exit
main_and_exit()
"""


def test_a_training_is_done_by_the_first_worker(demo_settings: Sequence[str], tmp_path: Path):
    done = _count_workers(["train", "device=cpu", "SOLVER.MAX_ITER=1", "DATASETS.TEST=[]", *demo_settings], tmp_path)

    assert (done.returncode, done.stderr.count("WORKER")) == (0, 1), done.stderr


def test_a_mistake_ends_the_first_worker(tmp_path: Path):
    done = _count_workers(["train", "experiment=nowhere"], tmp_path)

    assert (done.returncode, done.stderr.count("WORKER")) == (2, 1), done.stderr
    assert "nowhere" in done.stderr


def _count_workers(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COUNTING, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


STOPPED = {signal.SIGTERM: ExitCode.resumable, signal.SIGINT: ExitCode.interrupted}
ON_A_GPU = """
import sys
from pathlib import Path
from launcher.device.look import files, probe

def pretended(root):
    yield Path("/dev/nvidia0")

files.device_nodes = probe.device_nodes = pretended

class Noted(probe.Child):
    def __init__(self, script, **rest):
        super().__init__(script, **rest)
        if script.name == "child_torch.py":
            print("TORCH", file=sys.stderr, flush=True)

probe.Child = Noted
from launcher.cli.main import main_and_exit
main_and_exit()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_the_command_line_is_composed_leaves_no_files_behind(number: int, tmp_path: Path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    launcher = subprocess.Popen(
        [sys.executable, "-c", ON_A_GPU, "train", "experiment=nowhere"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert launcher.stderr is not None
    assert launcher.stderr.readline() == "TORCH\n"
    assert list(temporary.iterdir()) != []

    launcher.send_signal(number)

    assert launcher.wait(60) == STOPPED[number]
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in launcher.stderr.read()
    launcher.stderr.close()


def test_torch_that_was_imported_ahead_tries_the_gpu(
    demo_settings: Sequence[str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    if why_not := why_not_compiled():
        pytest.skip(why_not)
    simulated = FakeGpu(tmp_path_factory.mktemp("fakegpu"))
    done = subprocess.run(
        [sys.executable, "-c", ON_A_GPU, "train", "SOLVER.MAX_ITER=1", "DATASETS.TEST=[]", *demo_settings],
        cwd=tmp_path,
        env=simulated.environ(
            {**os.environ, "PYTHONPATH": str(REPOSITORY)}, Machine(gpus=(Gpu(cc="5.0"),)), alive=True
        ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr.count("TORCH")) == (0, 1), done.stderr
    assert "GPU 0" in done.stdout
