"""A check of data as a person reads it, in one table, and as a program does (JSON)."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from launcher.data.finding import Finding, Severity
from launcher.data.report import DataReport, FileReport
from launcher.data.sizes import Sizes
from launcher.data.tally import listed
from launcher.show.table import table

if TYPE_CHECKING:
    from rich.console import Console

_MOST_CLASSES = 40
"""Of a table; `--json` has all."""
_WIDEST = 110
_NARROWEST = 60
_BEFORE_TEXT = 22
"""Columns of severity, data set and count."""
_CORRECT = "correct these entries"


def show_report(report: DataReport, console: Console) -> None:
    """What is there, then everything that was found, then the verdict."""
    width = max(_NARROWEST, min(console.width, _WIDEST))
    for line in report_lines(report, width):
        console.print(line, highlight=False, markup=False)


def report_lines(report: DataReport, width: int) -> list[str]:
    """No line is longer than that, names of files and classes apart."""
    parts = [_files(report.files), _classes(report.files), list(_sizes(report.files)), _findings(report, width)]
    paragraphs = [part for part in parts if part]
    return [line for part in paragraphs for line in (*part, "")] + [_verdict(report)]


def report_json(report: DataReport) -> str:
    return json.dumps(
        {
            "would_stop_a_training": report.is_refused,
            "findings": [_plain_finding(finding) for finding in report.findings],
            "files": [asdict(file) for file in report.files],
            "only_presence_known": report.unread,
        },
        indent=2,
    )


def _plain_finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "severity": finding.severity.value}


def _files(files: Sequence[FileReport]) -> list[str]:
    if not files:
        return []
    rows = [["data", "images", "with objects", "objects", "crowds", "classes", "opened"]]
    for file in files:
        numbers = (file.num_images, file.num_annotated, file.num_objects, file.num_crowds, len(file.classes))
        rows.append([file.data_set, *(f"{number:,}" for number in numbers), f"{file.num_opened:,}"])
    return [*_right_aligned(rows), *(f"{file.data_set}: {file.json}, images in {file.images_folder}" for file in files)]


def _classes(files: Sequence[FileReport]) -> list[str]:
    """Classes with objects and images in each file; of many, the most frequent ones and the rarest."""
    if not any(file.classes for file in files):
        return []
    named: dict[str, list[tuple[int, int] | None]] = {}
    for place, file in enumerate(files):
        for one in file.classes:
            named.setdefault(one.name, [None] * len(files))[place] = (one.objects, one.images)
    heads = [f"{file.data_set} {what}" for file in files for what in ("objects", "images")]
    rows = [[name, *_counts(counts)] for name, counts in named.items()]
    if len(rows) <= _MOST_CLASSES:
        return _right_aligned([["class", *heads], *rows])
    by_number = sorted(named, key=lambda name: -sum(pair[0] for pair in named[name] if pair))
    half, row_of = _MOST_CLASSES // 2, dict(zip(named, rows, strict=True))
    left_out = [f"... {len(rows) - 2 * half} more (--json)", *[""] * len(heads)]
    most, rarest = ([row_of[name] for name in part] for part in (by_number[:half], by_number[-half:]))
    return _right_aligned([["class", *heads], *most, left_out, *rarest])


def _counts(counts: Sequence[tuple[int, int] | None]) -> Iterator[str]:
    for pair in counts:
        for number in pair or (0, 0):
            yield f"{number:,}" if number else "-"


def _right_aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column on its left, numbers on their right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = [[row[0], *(cell.rjust(width) for cell, width in zip_longest(row[1:], widths[1:]))] for row in rows]
    return table(numbers).splitlines()


def _sizes(files: Sequence[FileReport]) -> Iterator[str]:
    for file in files:
        if file.sizes is not None:
            yield f"{file.data_set} boxes, 5 % / half / 95 % below: {_percentiles(file.sizes)}"


def _percentiles(sizes: Sizes) -> str:
    text = f"{_between_slashes(sizes.in_image)} pixels"
    if sizes.in_model is None:
        return text
    return f"{text}; {_between_slashes(sizes.in_model)} as the model sees them (x {sizes.scale:g})"


def _between_slashes(numbers: Sequence[float]) -> str:
    return " / ".join(f"{number:g}" for number in numbers)


def _findings(report: DataReport, width: int) -> list[str]:
    if not report.findings:
        return []
    lines = [f"{'severity':9}{'data':6}{'count':>6} what"]
    for finding in report.findings:
        lines += _rows_of(finding, width)
    return lines


def _rows_of(finding: Finding, width: int) -> list[str]:
    count = f"{finding.count:,}" if finding.count else ""
    text = _wrapped(f"{finding.what} [{finding.code}]", width)
    if finding.examples:
        text += _wrapped(f"for example {listed(finding.examples, finding.count)}", width)
    if fix := finding.fix or (_CORRECT if finding.severity is not Severity.hint else ""):
        text += _wrapped(f"change: {fix}", width)
    first = f"{finding.severity.value:9}{finding.data_set[:5]:6}{count:>6} "
    return [f"{first if not place else ' ' * len(first)}{line}" for place, line in enumerate(text)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width - _BEFORE_TEXT, break_long_words=False, break_on_hyphens=False)


def _verdict(report: DataReport) -> str:
    numbers = Counter(finding.severity for finding in report.findings)
    found = ", ".join(_counted(numbers[severity], severity.value) for severity in Severity if numbers[severity])
    unread = f" Of {', '.join(report.unread)} only the files' presence is known." if report.unread else ""
    if report.is_refused:
        return f"{found}: a training would be refused or fail.{unread}"
    return f"{found or 'nothing found'}: a training can start.{unread}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"
