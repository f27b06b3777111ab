from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.show.stream import OutputError, PatientStream


class _Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_writing_goes_through_while_somebody_reads():
    stream = io.StringIO()

    assert PatientStream(stream).write("text") == 4

    assert stream.getvalue() == "text"


def test_a_reader_that_has_gone_is_no_error():
    stream = PatientStream(_Gone())

    assert stream.write("text") == 4
    stream.flush()
    assert not stream.isatty()


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_output_that_a_full_disk_does_not_take_is_an_error_unless_it_is_a_trainings_console():
    with pytest.raises(OutputError, match="No space left"):
        PatientStream(_Full()).write("text")

    assert PatientStream(_Full(), on_any_error=True).write("text") == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", [["--version"], ["explain"]])
def test_a_command_whose_output_is_lost_on_a_full_disk_fails(command: list[str]):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "launcher", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (done.returncode, done.stderr) == (1, "error: the output could not be written (No space left on device)\n")


def test_what_was_still_to_be_written_into_a_closed_pipe_does_not_end_the_process_badly():
    code = (
        "import sys; from launcher.show.stream import PatientStream\n"
        "sys.stdin.readline()\n"
        "stream = PatientStream(sys.stdout); stream.write('x' * 10); stream.flush(); stream.write('y')"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=buffered
    )
    assert running.stdout is not None
    assert running.stdin is not None
    running.stdout.close()
    running.stdin.write(b"now\n")
    running.stdin.close()

    assert running.wait(timeout=60) == 0
