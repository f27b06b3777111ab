"""Jobs under a real Slurm: their tests, those that take minutes too, again and again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from scripts.reliability.result import Row

REPOSITORY = Path(__file__).parents[2]
TESTS = "tests/cluster"
SHOWN = 200


def run_part(folder: Path, times: float, seed: int) -> list[Row]:  # noqa: ARG001
    """Each of them once, or of those that submit a run `times` as many trials; nothing about them is random."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cluster", TESTS, f"--junitxml={report}"]
    environ = {**os.environ, "SLURM_TEST_TRIALS": str(max(1, round(times)))}
    subprocess.run([*command, f"--basetemp={folder / 'tests'}"], cwd=REPOSITORY, env=environ, check=False)
    return list(rows_of(ElementTree.parse(report).getroot().iter("testcase")))


def rows_of(cases: Iterable[ElementTree.Element]) -> Iterator[Row]:
    """A row for each test, whose trials are counted together."""
    for name, trials in groupby(sorted(cases, key=_name_of), key=_name_of):
        ends = list(trials)
        skipped = [case for case in ends if case.find("skipped") is not None]
        misses = tuple(miss for case in ends for miss in _misses_of(case))
        passed = len(ends) - len(skipped) - len(misses)
        measured = f"{passed} of {len(ends)} as expected" if not skipped else _text_of(skipped[0], "skipped")
        yield Row(part="slurm", tried=name, measured=measured, misses=misses)


def _name_of(case: ElementTree.Element) -> str:
    """`a job outlives the controller (two nodes)`, without the number of the trial."""
    what, _, parameters = case.attrib["name"].removeprefix("test_").rstrip("]").partition("[")
    where = ", ".join(part for part in parameters.split("-") if not re.fullmatch("[0-9]*", part))
    return f"{what} ({where})".replace("_", " ")


def _misses_of(case: ElementTree.Element) -> Iterator[str]:
    for kind in ("failure", "error"):
        if case.find(kind) is not None:
            yield f"{case.attrib['name']}: {_text_of(case, kind)}"


def _text_of(case: ElementTree.Element, kind: str) -> str:
    found = case.find(kind)
    return " ".join(found.attrib.get("message", "").split())[:SHOWN] if found is not None else ""
