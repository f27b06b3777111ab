"""docs/predict.md as it stands there, on a run that was trained a moment before; and predictions that are killed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from launcher.errors import ExitCode
from launcher.run.journal import keys_in
from tests.documents import shown_in
from tests.forked import run_launcher_and_workers

Launch = Callable[..., "subprocess.CompletedProcess[str]"]

PAGE = shown_in("docs/predict.md")


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, demo_settings: tuple[str, ...], launcher_environment: dict[str, str]
) -> Path:
    """A folder with outputs/demo/default."""
    folder = tmp_path_factory.mktemp("trained")
    settings = (*demo_settings, "SOLVER.MAX_ITER=2", "OUTPUT_DIR=outputs/demo/default", "DATASETS.TEST=[]")
    run_launcher_and_workers(["train", *settings], folder=folder, environ=launcher_environment).check_returncode()
    return folder


@pytest.fixture
def here(tmp_path: Path, trained: Path, small_demo: Path) -> Path:
    """A folder with that run and three photographs."""
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    images = sorted((small_demo / "val").rglob("*.jpg"))[:3]
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(images, start=1):
        shutil.copy(image, tmp_path / f"photos/{number}.jpg")
    shutil.copy(images[0], tmp_path / "photo.jpg")
    shutil.copy(tmp_path / "outputs/demo/default/checkpoints/model_final.pth", tmp_path / "weights.pth")
    return tmp_path


@pytest.mark.slow
def test_the_lines_of_python_are_what_the_page_says(here: Path, launcher_environment: dict[str, str]):
    ((_, code),) = PAGE.programs

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env=launcher_environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    device, names = done.stdout.splitlines()
    assert device.startswith(("cpu ", "cuda"))
    assert re.fullmatch(r"\[('\w+'(, )?)*\]", names)
    with Image.open(here / "found.png") as drawn, Image.open(here / "photo.jpg") as photo:
        assert drawn.size == photo.size


@pytest.mark.slow
def test_the_commands_are_what_the_page_says(here: Path, launch_warm: Launch):
    of_run, by_name, of_model = (shlex.split(command.text)[1:] for command in PAGE.commands)

    done = launch_warm(*of_run)
    assert done.returncode == ExitCode.finished, done.stderr
    (folder,) = (here / "outputs/demo/default/predictions").iterdir()
    assert sorted(file.name for file in (folder / "images").iterdir()) == ["1.jpg", "2.jpg", "3.jpg"]
    assert {one["image_id"] for one in json.loads((folder / "predictions.json").read_text())} <= {1, 2, 3}
    again = launch_warm(*of_run)
    assert "nothing to do, 3 images are done" in again.stdout

    done = launch_warm(*by_name)
    assert done.returncode == ExitCode.finished, done.stderr
    assert (here / "found/predictions.json").is_file()
    assert re.search(r"with outputs/demo/default/checkpoints/model_\d{7}\.pth", done.stdout)

    done = launch_warm(*of_model)
    assert done.returncode == ExitCode.request_wrong
    assert re.search(r"weights\.pth holds another model: \d+ of \d+ tensors", done.stderr)


@pytest.mark.slow
def test_two_processes_share_the_images_and_name_what_cannot_be_read(here: Path, launch_warm: Launch):
    (here / "photos/broken.jpg").write_bytes((here / "photo.jpg").read_bytes()[:300])

    done = launch_warm("predict", "demo/default", "photos", "device=cpu", "device.count=2", "--json", "--no-images")

    assert done.returncode == ExitCode.training_failed
    printed = json.loads(done.stdout)
    assert printed["code"] == "run.unreadable_images"
    assert "1 of 4 images cannot be read: broken.jpg" in printed["explanation"]
    assert [Path(image["file"]).name for image in printed["images"]] == ["1.jpg", "2.jpg", "3.jpg"]
    assert "cpu x 2 processes" in done.stderr


@pytest.mark.slow
def test_a_prediction_that_is_killed_and_stopped_continues_and_ends_as_if_it_never_had_been(
    here: Path, launch_warm: Launch, launcher_environment: dict[str, str]
):
    for number in range(4, 60):
        shutil.copy(here / f"photos/{number % 3 + 1}.jpg", here / f"photos/{number}.jpg")
    command = ("predict", "demo/default", "photos", "device=cpu", "--no-images", "run.retries=0")
    interrupted = here / "interrupted"

    for number in (signal.SIGKILL, signal.SIGTERM):
        begun = len(keys_in(interrupted / "results"))
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher", *command, "--out", str(interrupted)],
            cwd=here,
            env=launcher_environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 120
        while len(keys_in(interrupted / "results")) < begun + 2 and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(process.pid, number)
        assert process.wait(120) in (-signal.SIGKILL, ExitCode.resumable, ExitCode.finished)
    done = launch_warm(*command, "--out", str(interrupted))
    uninterrupted = launch_warm(*command, "--out", "whole")

    assert (done.returncode, uninterrupted.returncode) == (0, 0), done.stderr + uninterrupted.stderr
    results = (here / "whole/predictions.json").read_text()
    assert (interrupted / "predictions.json").read_text() == results
    assert re.search(r"start: (\d+ images done, continues|nothing to do)", done.stdout)
