"""Where the metrics of a training go: metrics.json and TensorBoard, without repeats after a resume."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.utils.events import EventWriter, TensorboardXWriter, get_event_storage

from launcher.config.request import LoggingSettings
from launcher.files import write_text
from launcher.run.paths import RunPaths
from launcher.train.output.drawn import in_sheets
from launcher.train.output.memory import peak_memory_gib
from launcher.train.output.progress import SMOOTHED_OVER
from launcher.train.output.tags import MEMORY, tag_of

logger = logging.getLogger(__name__)

UNWRITTEN = "unwritten"  # its name in checkpoints


class Unwritten:
    """Lines of metrics.json that the disk has not taken yet. Part of every checkpoint, so that no kill loses one."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        return {"lines": list(self.lines)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.lines = list(state["lines"])


class MetricsWriter(EventWriter):
    """Writes the lines of detectron2's JSONWriter; what a full disk does not take comes with a later write.

    The file stays open: after another attempt has made a new one of it, what an overtaken one writes goes nowhere.
    """

    def __init__(self, file: Path, unwritten: Unwritten, report: Callable[[str], None]) -> None:
        self._file = file
        self._unwritten = unwritten
        self._report = report
        self._last_write = -1
        self._descriptor: int | None = None
        self._has_complained = False
        with contextlib.suppress(OSError):  # the first write tries again, and reports what is wrong
            self._open()

    def write(self) -> None:
        self._unwritten.lines += self._new_lines()
        if not self._unwritten.lines:
            return
        try:
            self._append("".join(line + "\n" for line in self._unwritten.lines))
        except OSError as error:
            self._complain(error)
        else:
            self._unwritten.lines.clear()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _new_lines(self) -> list[str]:
        scalars: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in get_event_storage().latest_with_smoothing_hint(SMOOTHED_OVER).items():
            if iteration > self._last_write:
                scalars[iteration][name] = value
        self._last_write = max([self._last_write, *scalars])
        return [
            json.dumps({**scalars[iteration], "iteration": iteration}, sort_keys=True) for iteration in sorted(scalars)
        ]

    def _append(self, text: str) -> None:
        """All of the text in one write, or nothing of it."""
        descriptor, content = self._open(), text.encode()
        size = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # half a line that stays is dropped by `cut_back`
                os.ftruncate(descriptor, size)
            raise

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        return self._descriptor

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._report(
                f"{self._file} could not be written ({error.strerror or error}). Its lines follow as soon as it can."
            )


class TensorBoardWriter(TensorboardXWriter):
    """detectron2's TensorBoard writer with groups that tell the story, and text; gives up when a write fails."""

    def __init__(self, folder: Path, purge_step: int, report: Callable[[str], None]) -> None:
        super().__init__(str(folder), SMOOTHED_OVER, purge_step=purge_step)
        self._folder = folder
        self._report = report
        self._has_given_up = False
        self._last_write = -1

    def write(self) -> None:
        self._or_give_up(self._write_scalars)
        self._or_give_up(self._write_drawn)
        # Nobody else would.
        get_event_storage().clear_images()
        get_event_storage().clear_histograms()

    def write_text(self, tag: str, markdown: str, attempt: int) -> None:
        self._or_give_up(lambda: self._writer.add_text(tag, markdown, attempt))

    def _write_scalars(self) -> None:
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        new = {name: pair for name, pair in latest.items() if pair[1] > self._last_write}
        for name, (value, iteration) in new.items():
            self._writer.add_scalar(tag_of(name), value, iteration)
        if new:
            self._last_write = max(iteration for _, iteration in new.values())
            self._writer.add_scalar(MEMORY, peak_memory_gib(), self._last_write)

    def _write_drawn(self) -> None:
        storage = get_event_storage()
        for name, image, iteration in in_sheets(storage._vis_data):
            self._writer.add_image(name, image, iteration)
        for histogram in storage._histograms:
            self._writer.add_histogram_raw(**histogram)

    def close(self) -> None:
        self._or_give_up(super().close)

    def _or_give_up(self, act: Callable[[], None]) -> None:
        if self._has_given_up:
            return
        try:
            act()
        except Exception as error:  # a text or an image that its library cannot take is no reason to end a training
            self._has_given_up = True
            reason = getattr(error, "strerror", None) or error
            self._report(
                f"TensorBoard's files in {self._folder} could not be written ({reason}). "
                "Nothing more goes there before the next start; metrics.json has all metrics."
            )


def build_writers(
    paths: RunPaths, settings: LoggingSettings, *, written_until: int, unwritten: Unwritten
) -> list[EventWriter]:
    """The writers of rank 0. What a former attempt wrote after its last checkpoint is cut off."""
    pending = [iteration for line in unwritten.lines if (iteration := _iteration_of(line)) is not None]
    # A former attempt may have written those that its checkpoint holds as unwritten.
    cut_back(paths.metrics, min([written_until + 1, *pending]))
    writers: list[EventWriter] = [MetricsWriter(paths.metrics, unwritten, logger.warning)]
    if settings.tensorboard:
        # purge_step makes TensorBoard forget what a former attempt wrote from that step on.
        writers.append(TensorBoardWriter(paths.tensorboard, written_until + 1, logger.warning))
    return writers


def write_as_text(writers: Sequence[EventWriter], texts: Mapping[str, str], attempt: int) -> None:
    """Put texts in Markdown into TensorBoard, where it is written, by name."""
    for writer in writers:
        if isinstance(writer, TensorBoardWriter):
            for name, text in texts.items():
                writer.write_text(name, text, attempt)


def cut_back(metrics: Path, first_iteration: int) -> None:
    """Drop the entries of `metrics.json` from `first_iteration` on, and a line that was only half written."""
    if not metrics.exists():
        return
    lines = metrics.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if (iteration := _iteration_of(line)) is not None and iteration < first_iteration]
    # Also when nothing is dropped: an attempt that was overtaken has the former file open, and writes into that.
    write_text(metrics, "".join(line + "\n" for line in kept))


def _iteration_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return None
