from __future__ import annotations

import io

from launcher.console import PatientStream


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
