from __future__ import annotations

import io
import os
import subprocess
import sys

from launcher.show.stream import PatientStream


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

    assert running.wait(timeout=30) == 0
