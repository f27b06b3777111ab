from __future__ import annotations

import io
import os
import threading

from launcher.train.output.unhurried import UnhurriedStream


def test_a_pipe_that_nobody_reads_is_not_waited_for_and_gets_text_again_when_it_is_read():
    read_end, write_end = os.pipe()
    stream = UnhurriedStream(os.fdopen(write_end, "w"))
    filling = threading.Thread(target=lambda: [stream.write("x" * 5000) for _ in range(100)], daemon=True)

    filling.start()
    filling.join(20)

    assert not filling.is_alive()
    assert 4096 <= len(os.read(read_end, 1 << 20)) < 500_000
    stream.write("again\n")
    assert os.read(read_end, 100) == b"again\n"


def test_a_stream_without_a_file_takes_everything():
    stream = io.StringIO()

    assert UnhurriedStream(stream).write("x" * 3000) == 3000

    assert stream.getvalue() == "x" * 3000
