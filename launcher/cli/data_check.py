"""`launcher data check`: everything that is wrong with a data set, in one table."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from launcher.cli.data_words import read_words
from launcher.cli.flags import without_settings
from launcher.config.adjustment import Adjustment
from launcher.config.asked import evaluated_on
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.data.coco_file import CocoFacts
from launcher.data.facts import with_registered
from launcher.data.index.store import index_store
from launcher.data.opening import OpenedImage, open_images
from launcher.data.report import DataReport, report_on
from launcher.errors import ExitCode
from launcher.launch.prepare import look_at_data
from launcher.show.console import make_console
from launcher.show.data_check import report_json, show_report

USAGE = "launcher data check DATASET|FILE... [SETTING=VALUE...] [--no-images] [--json]"
EPILOG = """\
DATASET is demo, coco_2017 or another option of dataset=; a folder; or one or two COCO-format files, the second one for
validation. Settings are those of a training: dataset.train.images=FOLDER, model=NAME. With a model, sizes are compared
with its anchors. Exit code 3: something would stop a training."""
_TOLD_EVERY_S = 5.0


def run(arguments: Sequence[str]) -> int:
    """Check what the arguments name; 3 where something would stop a training.

    Raises:
        LauncherError: no data can be meant.
    """
    parser = argparse.ArgumentParser(
        prog="launcher data check",
        usage=USAGE,
        description="Checks annotations and opens every image, on all cores.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--no-images", action="store_true", help="read the annotations, open no image")
    parser.add_argument("--json", action="store_true", help="the report as JSON, with all classes")
    asked, rest = parser.parse_known_args(arguments)
    settings = read_words(rest, command="data check")
    reports: list[DataReport] = []
    run_hydra(
        settings,
        lambda request: reports.append(_check(request, opens=not asked.no_images)),
        command=without_settings(("launcher", "data", "check", *arguments), rest),
        only_looks=True,
    )
    for report in reports:
        if asked.json:
            print(report_json(report))
        else:
            show_report(report, make_console())
    return ExitCode.data_wrong if any(report.is_refused for report in reports) else ExitCode.finished


def _check(request: RunRequest, *, opens: bool) -> DataReport:
    request = replace(request, dataset=replace(request.dataset, check=True))
    announce = partial(print, file=sys.stderr)
    facts = look_at_data(request, os.environ)
    facts = with_registered(facts, request.keys, index_store(request.dataset.index, os.environ, announce))
    opened = {coco.name: _open(coco, announce) for coco in facts.coco} if opens else {}
    return report_on(_without_absent_val(request), facts, opened)


def _without_absent_val(request: RunRequest) -> RunRequest:
    """As the plan of a training has it: a split that is not named is not evaluated on."""
    test = list(evaluated_on(request.dataset, request.keys))
    change = Adjustment(setting="DATASETS.TEST", asked=request.keys["DATASETS.TEST"], planned=test, reason="")
    return replace(request, keys=request.keys.with_([change]))


def _open(coco: CocoFacts, announce: Callable[[str], None]) -> list[OpenedImage]:
    paths = [os.path.join(coco.images, image.file_name) for image in coco.listed]
    return open_images(paths, note=_Progress(coco.name, len(paths), announce))


class _Progress:
    """Says now and then how many images are opened."""

    def __init__(self, name: str, total: int, announce: Callable[[str], None]) -> None:
        self._name, self._total, self._announce = name, total, announce
        self._next = time.monotonic() + _TOLD_EVERY_S

    def __call__(self, done: int) -> None:
        if time.monotonic() >= self._next and done < self._total:
            self._announce(f"{self._name}: {done} of {self._total} images opened")
            self._next = time.monotonic() + _TOLD_EVERY_S
