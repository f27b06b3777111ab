"""Limits on processes and open files are named where they are reached."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from launcher.data.convert.images import size_of
from launcher.data.convert.labels import Account
from launcher.data.image_files import look_for_files
from launcher.data.listed_image import ListedImage
from launcher.data.opening import open_images
from launcher.data.tally import Tally
from launcher.device.look.children import Child
from launcher.process_limits import OPEN_FILES, PROCESSES, ProcessLimitError, limit_reached, naming_limits
from launcher.run import codes
from launcher.run.handover import Worker
from launcher.train.failures import explain
from launcher.train.prediction.pixels import as_pixels
from launcher.train.samples.blame import is_about_the_image


def refuse(*_: object, **__: object) -> int:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel answers where a user has all processes that it may have."""
    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(subprocess, "_fork_exec", refuse)
    monkeypatch.setattr(subprocess, "_USE_POSIX_SPAWN", False)


@pytest.fixture
def few_files() -> Iterator[None]:
    """No file more than those that are open now."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("no_processes")
def test_a_worker_that_cannot_be_started_names_the_limit(tmp_path: Path):
    with pytest.raises(ProcessLimitError, match="ulimit -u") as raised:
        Worker(os.environ, tmp_path)

    assert raised.value.code == PROCESSES


@pytest.mark.usefixtures("few_files")
def test_a_worker_without_a_file_left_names_the_limit(tmp_path: Path):
    with pytest.raises(ProcessLimitError, match="ulimit -n") as raised:
        Worker(os.environ, tmp_path)

    assert raised.value.code == OPEN_FILES


@pytest.mark.usefixtures("no_processes")
def test_a_probe_that_cannot_be_started_names_the_limit():
    with pytest.raises(ProcessLimitError, match="ulimit -u"):
        Child(Path("probe.py"), environ=os.environ, ask={}, deadline_s=1.0)


@pytest.mark.usefixtures("no_processes")
def test_a_loader_process_that_cannot_be_forked_is_explained():
    process = multiprocessing.get_context("fork").Process(target=print)
    with pytest.raises(BlockingIOError) as raised:
        process.start()

    failure = explain(raised.value)

    assert failure.understood
    assert failure.code == codes.PROCESSES
    assert "ulimit -u" in failure.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("can't start new thread"), codes.PROCESSES),
        (OSError(errno.EMFILE, "Too many open files"), codes.OPEN_FILES),
        (OSError(errno.ENFILE, "Too many open files in system"), codes.OPEN_FILES),
    ],
)
def test_the_limit_is_told_from_the_exception(error: Exception, code: str):
    assert explain(error).code == code


@pytest.mark.parametrize(
    "error",
    [
        BlockingIOError(errno.EAGAIN, "nothing to read yet"),
        OSError(errno.ENOENT, "No such file"),
        RuntimeError("thread"),
    ],
)
def test_what_is_about_no_limit_is_left_alone(error: Exception):
    assert limit_reached(error) is None
    with pytest.raises(type(error)), naming_limits():
        raise error


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(tmp_path / "sound.png")
    Image.open(tmp_path / "sound.png").load()  # Pillow imports its formats with the first image
    return tmp_path / "sound.png"


def open_all(image: Path) -> object:
    return open_images([str(image)], num_processes=1)


def list_and_look(image: Path) -> object:
    listed = ListedImage(label="1", file_name=image.name, width=8, height=8)
    return look_for_files(str(image.parent), [listed], Tally())


def measure_to_convert(image: Path) -> object:
    return size_of(image, Account())


def take_for_a_prediction(image: Path) -> object:
    return as_pixels(image)


@pytest.mark.parametrize("use", [open_all, list_and_look, measure_to_convert, take_for_a_prediction])
def test_a_sound_image_that_cannot_be_opened_for_the_limit_is_not_blamed(
    use: Callable[[Path], object], image: Path, request: pytest.FixtureRequest
):
    use(image)
    request.getfixturevalue("few_files")

    with pytest.raises(ProcessLimitError, match="ulimit -n") as raised:
        use(image)

    assert raised.value.code == OPEN_FILES


def test_a_process_of_a_data_check_that_may_open_no_file_names_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "open", refuse_to_open)

    with pytest.raises(ProcessLimitError, match="ulimit -n"):
        open_images(["a.png", "b.png"], num_processes=2)


def refuse_to_open(file: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files", str(file))


def test_a_header_that_cannot_be_looked_into_for_the_limit_ends_the_check(image: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "open", refuse_to_open)

    with pytest.raises(ProcessLimitError, match="ulimit -n"):
        list_and_look(image)


class Unopened(Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        try:
            refuse_to_open("a.png")
        except OSError as error:
            raise ValueError("a mapper of somebody's own says it in its own words") from error


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_limit_is_named_where_a_mapper_or_a_loader_process_met_it(num_workers: int):
    with pytest.raises(ValueError, match="own words") as raised:
        list(DataLoader(Unopened(), num_workers=num_workers))

    failure = explain(raised.value)

    assert (failure.code, failure.understood) == (codes.OPEN_FILES, True)
    assert "[Errno 24] Too many open files: 'a.png'" in failure.message
    assert "Traceback" not in failure.message
    assert not is_about_the_image(raised.value)
