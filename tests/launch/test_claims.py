"""Claims on GPUs between processes, and a folder that is not as it should be."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.launch.claims import GPUS, LOCKS, GpusTakenError, HandedOver, claim, claims_folder, handed_over, look

ONE, TWO, SLICE = "GPU-1111", "GPU-2222", "MIG-GPU-3333/1/0"

HOLD = """
import subprocess, sys, time
from pathlib import Path
from launcher.launch.claims import claim
folder, starts_worker, *uuids = sys.argv[1:]
sys.excepthook = lambda kind, *_: print(kind.__name__, flush=True)
with claim(uuids, Path(folder)) as held:
    if starts_worker == "yes":
        worker = subprocess.Popen(["sleep", "60"], pass_fds=held.descriptors, stdout=subprocess.DEVNULL)
        print(worker.pid, flush=True)
    else:
        print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "claims"


Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def hold(folder: Path) -> Iterator[Hold]:
    """Start a process that claims GPUs and keeps them."""
    started = []

    def start(*uuids: str, starts_worker: str = "no") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(folder), starts_worker, *uuids]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_gpu_that_another_process_holds_is_seen_and_cannot_be_claimed(folder: Path, hold: Hold):
    holder = hold(ONE)
    first_line(holder)
    by_whom = f"is taken by another launcher, process {holder.pid} (device.share=true shares it)"

    assert look([ONE, TWO], folder) == {ONE: by_whom}
    with pytest.raises(GpusTakenError, match="GPU-1111 is taken") as refused, claim([TWO, ONE], folder):
        pass
    assert refused.value.taken == {ONE: by_whom}


def test_a_claim_that_is_refused_takes_none_of_its_gpus(folder: Path, hold: Hold):
    first_line(hold(TWO))

    with pytest.raises(GpusTakenError), claim([ONE, TWO], folder):
        pass

    assert ONE not in look([ONE], folder)
    with claim([ONE], folder) as ours:
        assert len(ours.descriptors) == 1


def test_of_several_that_want_the_same_gpus_at_once_one_gets_them_all(hold: Hold):
    racing = [hold(*wanted) for wanted in ((ONE, TWO), (TWO, ONE), (ONE, TWO), (TWO, ONE))]

    assert sorted(map(first_line, racing)) == ["GpusTakenError"] * 3 + ["held"]


def test_a_killed_process_holds_nothing(folder: Path, hold: Hold):
    holder = hold(ONE)
    first_line(holder)

    holder.send_signal(signal.SIGKILL)
    holder.wait()

    assert look([ONE], folder) == {}
    with claim([ONE], folder) as ours:
        assert ours.notices == ()


def test_a_worker_that_outlives_its_launcher_keeps_the_claim(folder: Path, hold: Hold):
    holder = hold(ONE, starts_worker="yes")
    worker = int(first_line(holder))
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    assert ONE in look([ONE], folder)

    os.kill(worker, signal.SIGKILL)
    with claim([ONE], folder) as ours:  # waits for the worker's end
        assert len(ours.descriptors) == 1


def test_a_claim_ends_with_its_block_and_can_be_made_again(folder: Path):
    for _ in range(2):
        with claim([ONE, SLICE], folder) as ours:
            assert set(look([ONE, TWO, SLICE], folder)) == {ONE, SLICE}
            assert len(ours.descriptors) == 2
        assert look([ONE, TWO, SLICE], folder) == {}


def test_looking_creates_and_changes_nothing(folder: Path):
    assert look([ONE], folder) == {}
    assert not folder.exists()

    with claim([ONE], folder):
        pass
    before = (folder / ONE).stat()
    look([ONE], folder)
    assert (folder / ONE).stat().st_mtime_ns == before.st_mtime_ns


def test_someone_who_looks_at_the_same_moment_does_not_spoil_a_claim(folder: Path):
    with claim([ONE], folder):
        pass
    looking = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_SH);"
            "print('looking', flush=True); time.sleep(0.2)",
            str(folder / ONE),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    first_line(looking)

    with claim([ONE], folder) as ours:
        assert len(ours.descriptors) == 1
    looking.communicate()


def test_folder_and_files_are_for_all_users_whatever_the_umask(folder: Path):
    before = os.umask(0o077)
    try:
        with claim([ONE], folder):
            pass
    finally:
        os.umask(before)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / ONE).stat().st_mode) == 0o666


def test_a_link_in_place_of_a_file_is_not_followed(folder: Path, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("do not touch")
    folder.mkdir()
    (folder / ONE).symlink_to(precious)
    (folder / TWO).hardlink_to(precious)

    with claim([ONE, TWO], folder) as ours:
        assert ours.descriptors == ()
        assert [notice.split()[0] for notice in ours.notices] == [ONE, TWO]

    assert precious.read_text() == "do not touch"


def test_a_pipe_in_place_of_a_file_does_not_stop_anybody(folder: Path):
    folder.mkdir()
    os.mkfifo(folder / ONE)

    assert look([ONE], folder) == {}
    with claim([ONE], folder) as ours:
        assert "is not locked against other launches" in ours.notices[0]


@pytest.mark.parametrize("what", ["link", "file", "missing parent"])
def test_a_folder_that_is_none_costs_the_claim_and_not_the_run(tmp_path: Path, what: str):
    folder = tmp_path / "claims"
    if what == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    elif what == "file":
        folder.write_text("")
    else:
        folder = tmp_path / "missing" / "claims"

    with claim([ONE, TWO], folder) as ours:
        assert (ours.descriptors, len(ours.notices)) == ((), 2)
    assert look([ONE], folder) == {}


def test_what_others_wrote_into_a_file_is_not_repeated(folder: Path, hold: Hold):
    first_line(hold(ONE))
    (folder / ONE).write_text("\x1b[31m rm -rf everything")

    assert look([ONE], folder) == {ONE: "is taken by another launcher (device.share=true shares it)"}


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several users")

AS_ANOTHER_USER = """
import os, sys
os.setgid(65534); os.setgroups([]); os.setuid(65534)
from pathlib import Path
from launcher.launch.claims import claim, look, GpusTakenError
print(look(sys.argv[2:], Path(sys.argv[1])))
try:
    with claim(sys.argv[2:], Path(sys.argv[1])) as held:
        print(len(held.descriptors), list(held.notices))
except GpusTakenError as error:
    print("taken", error)
"""


def as_another_user(folder: Path, *uuids: str) -> list[str]:
    # What the script imports has to be read before it gives up its rights.
    preload = (
        "import contextlib, errno, fcntl, re, stat, tempfile, time, dataclasses, pathlib, launcher.launch.claims\n"
    )
    command = [sys.executable, "-c", preload + AS_ANOTHER_USER, str(folder), *uuids]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that another user gets at, with a file of ours in it."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent, "claims")
        with claim([ONE], folder):
            pass
        yield folder


@needs_root
def test_users_see_each_others_claims_and_take_turns(open_folder: Path):
    with claim([ONE], open_folder):
        seen, result = as_another_user(open_folder, ONE)
        assert f"process {os.getpid()}" in seen
        assert result.startswith("taken")

    assert as_another_user(open_folder, ONE, TWO) == ["{}", "2 []"]
    with claim([ONE, TWO], open_folder) as ours:  # TWO's file belongs to the other user now
        assert len(ours.descriptors) == 2


@needs_root
def test_a_file_that_may_only_be_read_can_be_claimed_all_the_same(open_folder: Path):
    (open_folder / ONE).chmod(0o644)

    assert as_another_user(open_folder, ONE) == ["{}", "1 []"]


@needs_root
def test_missing_rights_cost_the_claim_and_not_the_run(open_folder: Path):
    (open_folder / ONE).chmod(0o600)
    open_folder.chmod(0o755)

    seen, result = as_another_user(open_folder, ONE, TWO)

    assert seen == "{}"
    assert result.startswith("0 [")
    assert result.count("Permission denied") == 2


def test_the_folder_is_below_the_temporary_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert claims_folder().parent == tmp_path


def test_without_a_folder_for_temporary_files_a_gpu_is_used_unclaimed_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def refuse() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    unwritable = tmp_path / "file"
    unwritable.touch()

    with claim([ONE], unwritable / claims_folder().name) as claimed:
        (notice,) = claimed.notices

    assert claims_folder().is_absolute()
    assert notice.startswith(f"{ONE} is not locked against other launches")


def test_what_was_claimed_for_a_process_is_read_from_its_environment(tmp_path: Path):
    with open(tmp_path / "lock", "w") as lock:
        environ = {GPUS: f"{ONE},{SLICE}", LOCKS: f"{lock.fileno()},9999,nonsense"}

        assert handed_over(environ) == HandedOver(uuids=frozenset({ONE, SLICE}), descriptors=(lock.fileno(),))
    assert handed_over({}) == handed_over({LOCKS: "1"}) == HandedOver()
