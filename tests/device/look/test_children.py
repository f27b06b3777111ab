"""Probe children that behave badly."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.device.causes.diagnose import diagnose
from launcher.device.facts import DriverFacts
from launcher.device.look import children
from launcher.device.look.child_journal import kernel_state, read_journal
from launcher.device.look.children import Child
from launcher.errors import DeviceUnavailableError
from tests.device.recorded import NO_GPU

LOOK = Path(children.__file__).parent

PREAMBLE = "import json, os, signal, sys, time\njournal = open(sys.argv[1], 'a', buffering=1)\n"


@pytest.fixture
def script(tmp_path: Path):
    def write(body: str) -> Path:
        path = tmp_path / "probe.py"
        path.write_text(PREAMBLE + body)
        return path

    return write


def ask(script: Path, deadline_s: float = 20.0, **question: object):
    return Child(script, environ=os.environ, ask=question, deadline_s=deadline_s)


def test_an_answer_is_read_with_the_question_it_was_given(script):
    body = "n = json.loads(sys.argv[2])['n']\nprint(json.dumps({'double': n * 2, 'stage': 'end'}), file=journal)"

    answer = ask(script(body), n=21).answer()

    assert answer.said == {"double": 42}
    assert (answer.end.how, answer.end.stage) == ("answered", "end")


def test_the_rest_of_a_question_can_follow_later_and_has_a_deadline_of_its_own(script):
    body = "print(json.dumps({'heard': json.loads(sys.stdin.readline())['n'], 'stage': 'end'}), file=journal)"

    child = ask(script(body), 1.5)
    time.sleep(1.6)
    child.tell({"n": 21})
    answer = child.answer()

    assert (answer.said, answer.end.how) == ({"heard": 21}, "answered")


def test_a_child_that_died_before_it_heard_the_rest_says_how(script):
    child = ask(script("os.kill(os.getpid(), signal.SIGSEGV)"))
    while not kernel_state(child._process.pid).startswith("Z"):
        time.sleep(0.01)
    child.tell({"n": 21})
    end = child.answer().end

    assert (end.how, end.number) == ("signal", signal.SIGSEGV)


def test_a_child_that_hangs_costs_no_more_than_its_deadline_and_is_killed(script):
    started = time.monotonic()
    child = ask(script("print(json.dumps({'stage': 'cuInit', 'pid': os.getpid()}), file=journal)\nsignal.pause()"), 0.7)
    answer = child.answer()

    assert time.monotonic() - started < 5
    assert (answer.end.how, answer.end.stage) == ("hung", "cuInit")
    assert answer.end.kernel_state.startswith("S")
    with pytest.raises(ProcessLookupError):
        os.kill(answer.said["pid"], 0)


def test_a_child_that_does_not_die_is_left_behind(script):
    killed: list[int] = []
    child = Child(
        script("print(json.dumps({'stage': 'cuInit'}), file=journal)\nsignal.pause()"),
        environ=os.environ,
        ask={},
        deadline_s=0.3,
        kill=killed.append,
    )
    started = time.monotonic()
    answer = child.answer()
    os.kill(killed[0], signal.SIGKILL)

    assert time.monotonic() - started < 5
    assert answer.end.how == "hung"


def test_a_child_that_is_killed_by_a_signal_says_where(script):
    body = "print(json.dumps({'stage': 'cuInit'}), file=journal)\nos.kill(os.getpid(), signal.SIGSEGV)"

    answer = ask(script(body)).answer()

    assert (answer.end.how, answer.end.number, answer.end.stage) == ("signal", signal.SIGSEGV, "cuInit")


def test_a_child_that_ends_early_is_no_answer_and_its_complaint_is_kept(script):
    answer = ask(script("print('cannot open the device', file=sys.stderr)\nos._exit(0)")).answer()

    assert (answer.end.how, answer.end.stderr) == ("exit", "cannot open the device")


def test_grandchildren_die_with_a_child_that_hangs(script):
    child = ask(script(
        "pid = os.fork()\nif pid: print(json.dumps({'grandchild': pid, 'stage': 'fork'}), file=journal)\nsignal.pause()"
    ), 0.7)  # fmt: skip
    answer = child.answer()

    deadline = time.monotonic() + 5
    while _alive(answer.said["grandchild"]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(answer.said["grandchild"])


def _alive(pid: int) -> bool:
    return kernel_state(pid)[:1] not in ("", "Z")


def test_a_journal_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path):
    (tmp_path / "journal").write_text('{"stage": "GPU 0"}\n{"gpus": [1]}\n{"stage": "GPU 1"}\n{"gpus": [1, ')

    assert read_journal(tmp_path / "journal") == ({"gpus": [1]}, "GPU 1")


def test_no_journal_means_that_nothing_was_said(tmp_path: Path):
    assert read_journal(tmp_path / "journal") == ({}, "start")


def test_the_kernel_knows_nothing_of_a_process_that_is_gone():
    assert kernel_state(2**22 + 1) == ""


def test_a_full_folder_for_temporary_files_is_not_the_end(script, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", "/dev/full")
    body = "print(json.dumps({'folder': json.loads(sys.argv[2])['folder'], 'stage': 'end'}), file=journal)"

    answer = ask(script(body)).answer()

    assert answer.end.how == "answered"
    assert answer.said["folder"].startswith("/dev/shm/")


def test_without_any_room_the_reason_is_a_sentence(script, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", "/dev/full")
    monkeypatch.setattr("launcher.device.look.children.MEMORY", "/dev/full")

    with pytest.raises(DeviceUnavailableError, match=r"Make room there, or set TMPDIR=FOLDER\."):
        ask(script("pass"))


def test_a_child_that_cannot_write_its_journal_has_found_nothing_out(script):
    body = (
        f"sys.path.insert(0, {str(LOOK)!r})\nfrom child_journal import Journal\n"
        "Journal('/dev/full').say(stage='load libcuda')\n"
    )

    end = ask(script(body)).answer().end

    assert (end.how, end.number) == ("unwritten", 0)
    machine = replace(NO_GPU, driver=DriverFacts(end=replace(end, stage="load libcuda")))
    assert not [finding.code for finding in diagnose(machine).findings if finding.code.startswith("driver.")]


def test_a_device_file_with_no_driver_behind_it_is_told_from_one_that_opens(tmp_path: Path):
    (tmp_path / "plain").write_text("")
    nodes = [str(tmp_path / "plain"), "/dev/null", "/dev/ptmx", str(tmp_path / "missing")]
    ask = {"library": "no.such.library", "nodes": nodes}

    with Child(LOOK / "child_driver.py", environ=os.environ, ask=ask, deadline_s=20) as child:
        said = child.answer().said["nodes"]

    assert [node["error"] for node in said] == ["covered", "covered", "", "ENOENT"]
