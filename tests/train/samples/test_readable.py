from __future__ import annotations

import logging
from typing import Any

import pytest

from launcher.train.samples.readable import readable

RECORDS = [{"file_name": "good.png"}, {"file_name": "bad.png"}, {"file_name": "empty.png"}, {"file_name": "last.png"}]


def failing_with(error: Exception) -> Any:
    def make(record: dict[str, Any]) -> str | None:
        if record["file_name"] == "bad.png":
            raise error
        return None if record["file_name"] == "empty.png" else record["file_name"]

    return make


def test_what_cannot_be_read_is_left_out_and_named_in_the_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        made = list(readable(failing_with(ValueError("no image")), RECORDS, otherwise="is not shown"))

    assert made == ["good.png", "last.png"]
    assert "bad.png is not shown (ValueError: no image)" in caplog.text


def test_a_lack_of_memory_is_not_taken_for_an_unreadable_image():
    with pytest.raises(MemoryError):
        list(readable(failing_with(MemoryError()), RECORDS, otherwise="is not shown"))
