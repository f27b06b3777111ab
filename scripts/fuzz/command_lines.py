"""Command lines and configuration files that people might write, planned one after the other: each must get an answer.

    python scripts/fuzz/command_lines.py [--number N] [--seed N]

They are made from the settings that there are, from habits of other programs, from values of wrong types and from odd
paths. An answer is a plan or a sentence with an exit code; a traceback, a hang, a correction that is refused itself, or
a plan with another value than was typed is a miss. Prints every miss; then the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.cli.main import main as launcher
from launcher.config.known_keys import Detectron2Keys, read_keys
from launcher.config.schema import make_schema, setting_names

DEADLINE_S = 60
ANSWERS = (0, 2, 3, 4)
VALUES = (
    *("0", "1", "-1", "2.5", "1e5", "nan", "inf", "true", "no"),
    *("null", "''", "abc", "a b", "[]", "[1,2]", "[[1],[2]]"),
    *(
        "(1,2)",
        '"(3000,)"',
        "1,2",
        "{a: 1}",
        "{}",
        "[a",
        "${SEED}",
        "${nowhere}",
        "a=b",
        "[1,a]",
        "é中",
        "1_000",
        "0x10",
    ),
)
PATHS = (
    *(
        "~/x",
        "$HOME/x",
        "$NOWHERE/x",
        "../x",
        "/",
        ".",
        "",
        "a,b.json",
        "x" * 300,
        "a\x1b[2Jb",
        "\udcff",
        "pipe",
        "/dev/null",
    ),
    *(
        "loop/x",
        "https://example.org/a b",
        "catalog://x",
        "a'b",
        'a"b',
        "a b",
        "a(b)",
        "#",
        "a;b",
        "é中",
        "conf",
        "file.json",
    ),
)
HABITS = (
    *(
        "lr=0.1",
        "batch_size=4",
        "epochs=3",
        "--lr=0.1",
        "--gpus",
        "-x",
        "--config-file",
        "a.yaml",
        "SOLVER.BASE_LR 0.1",
    ),
    *("model=../configs/COCO-Detection/retinanet_R_50_FPN_1x.yaml"),
    *("model=faster_rcnn_R_50_FPN_1x.yaml", "model=yolo"),
    *(
        "device=gpu",
        "device=cuda:0",
        "MODEL.DEVICE=cuda:1",
        "+experiment=demo",
        "~model",
        "~device",
        "-m",
        "dataset=mine",
    ),
    *(
        "experiment=../x",
        "run.name=../x",
        "dataset.name=../x",
        "resume",
        "OUTPUT_DIR=./output",
        "hydra.run.dir=x",
        "=",
        "=1",
    ),
    *(
        "checkpoint.keep_best=AP",
        "early_stopping.patience=2",
        "DATASETS.TRAIN=mine",
        "DATASETS.TRAIN=(mine,)",
        "model@a=b",
    ),
    *("config_extensions=[a:b]", "config_extensions=x"),
    *("imports=[a.py]", "trainer=a", "experiment=mine", "+FOO.BAR=1"),
)
LINES_OF_FILES = (
    *("SOLVER: {MAX_ITER: often}", "_BASE_: ../a.yaml"),
    *("SOLVER:\n\tBASE_LR: 1", "INPUT: {MIN_SIZE_TRAIN: (640, 800)}"),
    *(
        "- a",
        "defaults: x",
        "defaults:\n  - override /model: nowhere",
        "defaults:\n  - mine",
        "defaults: [{a: {b: c}}]",
    ),
    *(
        "hydra: {job: {env_set: {A: b}}}",
        "device: cpu",
        "MODEL: 3",
        "1: 2",
        "? [a]\n: b",
        "SEED: ${SEED}",
        "k\udcf6ln: 1",
        "",
    ),
    *(
        "SOLVER: {STEPS: [1, [2]]}",
        "A: &a [*a]",
        "NEW: {KEY: 1}",
        "null: 1",
        "dataset: {train: null}",
        "run: {root: [1]}",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What came of one command line."""

    words: tuple[str, ...]
    code: int | None
    screen: str
    error: str
    """The traceback, or what else is wrong."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=300, help="of command lines")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other lines")
    asked = parser.parse_args(arguments)
    missed = [answered for answered in answers(asked.number, asked.seed) if answered.error]
    for answered in missed:
        print(f"MISSED {shlex.join(answered.words)!a}\n{answered.error}\n")
    print(f"{asked.number - len(missed)} of {asked.number} command lines got an answer (seed {asked.seed})")
    return 1 if missed else 0


def answers(number: int, seed: int) -> Iterator[Answered]:
    """Plan that many command lines, in a folder of their own."""
    keys = read_keys()
    names = sorted(setting_names(make_schema(keys)))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        _furnish(Path(folder))
        for index in range(number):
            draw = random.Random(f"{seed} {index}")
            _write_file(draw)
            yield _judged(plan(line(draw, names, keys)))


def line(draw: random.Random, names: list[str], keys: Detectron2Keys) -> tuple[str, ...]:
    """One command line."""
    kinds: tuple[Callable[[], str], ...] = (
        lambda: f"{draw.choice(names)}={draw.choice(VALUES)}",
        lambda: f"{_misspelled(draw, draw.choice(names))}={draw.choice(VALUES)}",
        lambda: f"{draw.choice(_paths_among(names))}={draw.choice(PATHS)}",
        lambda: draw.choice(HABITS),
        lambda: f"model={draw.choice(sorted(keys.zoo))}",
    )
    words = [draw.choice(kinds)() for _ in range(draw.randint(1, 4))]
    sound = ["device=cpu", "DATASETS.TRAIN=[coco_2017_train]", "--config-dir", "conf"]
    return (*words, *sound[: draw.choice((1, 2, 4))])


def plan(words: tuple[str, ...]) -> Answered:
    """What `launcher plan` answers, in this process."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    code, error = None, ""
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(DEADLINE_S)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = launcher(["plan", *words])
    except SystemExit as left:
        code = int(left.code or 0)
    except Exception:
        error = traceback.format_exc(limit=-6)
    finally:
        signal.alarm(0)
    printed.seek(0)
    return Answered(words=words, code=code, screen=printed.read(), error=error)


def _judged(answered: Answered) -> Answered:
    error = answered.error or _complaint(answered)
    return Answered(words=answered.words, code=answered.code, screen=answered.screen, error=error)


def _complaint(answered: Answered) -> str:
    if answered.code not in ANSWERS:
        return f"exit code {answered.code}: {answered.screen}"
    if "Traceback" in answered.screen or "\x1b[2J" in answered.screen:
        return f"a traceback, or what a terminal obeys, is printed: {answered.screen!a}"
    if "\nType:\n" not in answered.screen:
        return ""
    corrected = plan(tuple(shlex.split(answered.screen.rpartition("\nType:\n")[2])[2:]))
    is_refused = corrected.error or "\nType:\n" in corrected.screen or "has no key" in corrected.screen
    return f"its correction is refused: {corrected.screen}{corrected.error}" if is_refused else ""


def _misspelled(draw: random.Random, name: str) -> str:
    position = draw.randrange(len(name))
    return draw.choice(
        (name[:position] + name[position + 1 :], name.lower(), name.rpartition(".")[2], f"{name}.X", f"+{name}")
    )


def _paths_among(names: list[str]) -> list[str]:
    ends = ("json", "images", "root", "WEIGHTS", "OUTPUT_DIR", "resume", "run.name", "dataset.name")
    return [name for name in names if name.endswith(ends)]


def _furnish(folder: Path) -> None:
    (folder / "conf/experiment").mkdir(parents=True)
    (folder / "loop").symlink_to("loop")
    (folder / "file.json").write_text(json.dumps({"images": []}))
    os.mkfifo(folder / "pipe")


def _write_file(draw: random.Random) -> None:
    content = "# @package _global_\n" * draw.choice((0, 1)) + "\n".join(draw.sample(LINES_OF_FILES, draw.randint(1, 2)))
    Path("conf/experiment/mine.yaml").write_bytes(content.encode(errors="surrogateescape"))


def _give_up(*_: Any) -> None:
    raise TimeoutError(f"no answer in {DEADLINE_S} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
