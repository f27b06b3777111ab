"""Command lines and configuration files that people might write, planned one after the other: each must get an answer.

    python scripts/fuzz/command_lines.py [--number N] [--seed N]

They are made from the settings that there are, with values of right and of wrong types, from habits of other programs
and from odd paths; half of them are sound enough to be accepted. A miss is

* a traceback, an answer later than 60 s, an exit code that `launcher plan` has not, a terminal escape on the screen;
* a suggested correction that is not accepted when it is typed: it does not compose, or a check of the request refuses
  it (what only the files and devices of this machine refuse is not counted);
* of what is accepted, and no sweep: a setting typed as KEY=VALUE, or written into the file of experiment=sound, that
  the request has another value for than yacs reads (of detectron2's keys) or than was typed (of the launcher's), or
  that the plan has, unless an adjustment or a notice of the plan names that setting;
* a run folder that is not OUTPUT_DIR, or not below run.root, as typed.

Not compared are values that are not plain (interpolations, dictionaries, quotes inside of lists) and what the other
files set. Prints every miss; then the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shlex
import signal
import sys
import tempfile
import traceback
from ast import literal_eval
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from omegaconf import OmegaConf
from PIL import Image
from yacs.config import CfgNode

from launcher.cli import plan as plan_command
from launcher.cli.main import main as launcher
from launcher.config.known_keys import Detectron2Keys, read_keys
from launcher.config.places import PATHS as PATH_SETTINGS
from launcher.config.request import RunRequest
from launcher.config.schema import make_schema, setting_names
from launcher.launch.prepare import Prepared
from launcher.run.identity import run_folder
from launcher.run.plan import RunPlan

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
    "model=../configs/COCO-Detection/retinanet_R_50_FPN_1x.yaml",
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


SOUND_VALUES: dict[type, tuple[str, ...]] = {
    bool: ("true", "false", "True", "False"),
    int: ("0", "1", "2", "7", "64", "512", "1_000", "+3"),
    float: ("0", "1", "0.5", "1e-3", "2.5e-2", ".25", "1E-4"),
    str: ("abc", "a b", "x-1", "007", "1e5", "1_000", "true", "null", "0x10", "é中", "'1e3'", '"a,b"', "v1.0", "1.50"),
    list: ("[]", "[1]", "[64,128]", "[0.5,1.0]", "[[64,128]]", "[mine]", "[a,b]"),
}
"""By the type of a setting's default."""
SOUND = "conf/experiment/sound.yaml"
SOUND_FILE = ("--config-dir", "conf", "experiment=sound")
SOUND_PATHS = ("~/x", "$HOME/x", "a/b", "./output", "outputs", "a b", "é", "007", "1e5", "x.d", "'$HOME/y'", "//tmp//x")
OWN_DATA = (
    *("dataset=coco_json", "dataset.train.json=train.json", "dataset.train.images=images"),
    *("MODEL.WEIGHTS=''", "INPUT.MASK_FORMAT=polygon"),
)

DATA = {
    "images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 48}],
    "categories": [{"id": 1, "name": "thing"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 30, 20], "area": 600, "iscrowd": 0}
        | {"segmentation": [[4, 4, 34, 4, 34, 24, 4, 24]]}
    ],
}


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What came of one command line."""

    words: tuple[str, ...]
    code: int | None
    screen: str
    error: str
    """The traceback, or what else is wrong."""
    requests: tuple[RunRequest, ...] = ()
    """What was composed and passed every check of a request."""
    plans: tuple[RunPlan, ...] = ()
    """What became of them."""


@dataclass(kw_only=True)
class Seen:
    """Replaces `prepare`, and keeps what goes in and comes out."""

    requests: list[RunRequest] = field(default_factory=list)
    plans: list[RunPlan] = field(default_factory=list)

    def __call__(self, request: RunRequest, *others: Any) -> Prepared:
        self.requests.append(request)
        prepared = PREPARE(request, *others)
        self.plans.append(prepared.plan)
        return prepared


PREPARE = plan_command.prepare


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=300, help="of command lines")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other lines")
    asked = parser.parse_args(arguments)
    done = list(answers(asked.number, asked.seed))
    missed = [answered for answered in done if answered.error]
    for answered in missed:
        print(f"MISSED {shlex.join(answered.words)!a}\n{answered.error}\n")
    print(
        f"{asked.number - len(missed)} of {asked.number} command lines got an answer (seed {asked.seed}); "
        f"{sum(bool(one.requests) for one in done)} were accepted, {sum(bool(one.plans) for one in done)} planned"
    )
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
            words = sound_line(draw, names, keys) if draw.random() < 0.5 else line(draw, names, keys)
            if draw.random() < 0.3:
                _write_sound_file(draw, names, make_schema(keys))
                words = (*words, *SOUND_FILE)
            yield _judged(plan(words), keys)


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


def sound_line(draw: random.Random, names: list[str], keys: Detectron2Keys) -> tuple[str, ...]:
    """One command line that may well be accepted."""
    schema = make_schema(keys)
    words = [_sound_word(draw, draw.choice(names), schema) for _ in range(draw.randint(0, 2))]
    words += [f"{draw.choice(_paths_among(names))}={draw.choice(SOUND_PATHS)}" for _ in range(draw.randint(0, 1))]
    ends = draw.choice((OWN_DATA, ("DATASETS.TRAIN=[coco_2017_train]",)))
    typed = {word.partition("=")[0] for word in words}
    return (*words, "device=cpu", *(word for word in ends if word.partition("=")[0] not in typed))


def _sound_word(draw: random.Random, name: str, schema: Any) -> str:
    default = OmegaConf.select(schema, name)
    if isinstance(default, Enum):
        return f"{name}={draw.choice([member.name for member in type(default)])}"
    kind = next((kind for kind in SOUND_VALUES if type(default) is kind), list)
    return f"{name}={draw.choice(SOUND_VALUES[kind])}"


def plan(words: tuple[str, ...]) -> Answered:
    """What `launcher plan` answers, in this process."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    code, error, seen = None, "", Seen()
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(DEADLINE_S)
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            patch.object(plan_command, "prepare", seen),
        ):
            code = launcher(["plan", *words])
    except SystemExit as left:
        code = int(left.code or 0)
    except Exception:
        error = traceback.format_exc(limit=-6)
    finally:
        signal.alarm(0)
    printed.seek(0)
    screen = printed.read()
    return Answered(
        words=words, code=code, screen=screen, error=error, requests=tuple(seen.requests), plans=tuple(seen.plans)
    )


def _write_sound_file(draw: random.Random, names: list[str], schema: Any) -> None:
    """An experiment of settings that may well be accepted."""
    settings: dict[str, Any] = {}
    for word in (_sound_word(draw, draw.choice(names), schema) for _ in range(draw.randint(1, 3))):
        settings |= typed_values([word], schema)
    nested = OmegaConf.create({})
    for name, value in settings.items():
        OmegaConf.update(nested, name, _as_list(value))
    Path(SOUND).write_text("# @package _global_\n" + yaml.safe_dump(OmegaConf.to_container(nested)))


def _as_list(value: Any) -> Any:
    return [*map(_as_list, value)] if isinstance(value, tuple | list) else value


def values_in_file(words: Sequence[str], schema: Any) -> dict[str, Any]:
    """What the file of experiment=sound sets, where it is the one that is chosen."""
    if tuple(words[-len(SOUND_FILE) :]) != SOUND_FILE or sum(word.startswith("experiment=") for word in words) > 1:
        return {}
    content = OmegaConf.create(yaml.safe_load(Path(SOUND).read_text()) or {})
    return {name: _as_list(OmegaConf.select(content, name)) for name in _leaf_names(content, schema)}


def _leaf_names(content: Any, schema: Any) -> list[str]:
    return [name for name in setting_names(schema) if OmegaConf.select(content, name) is not None]


def _judged(answered: Answered, keys: Detectron2Keys) -> Answered:
    error = answered.error or _complaint(answered) or "\n".join(differences(answered, keys))
    return replace(answered, error=error)


def differences(answered: Answered, keys: Detectron2Keys) -> Iterator[str]:
    """What came out otherwise than it was typed, without a notice."""
    if len(answered.requests) != 1 or {"-m", "--multirun"} & {*answered.words}:
        return
    (request,) = answered.requests
    schema = make_schema(keys)
    typed = {**values_in_file(answered.words, schema), **typed_values(answered.words, schema)}
    for name, value in typed.items():
        got = _value_in(request, name)
        if not _same(name, value, got):
            yield f"{name} was typed as {value!r}, and the request has {got!r}"
        for made in answered.plans:
            planned = made.keys.get(name, None) if name[0].isupper() and name != "OUTPUT_DIR" else value
            if not _same(name, value, planned) and not _is_reported(name, made):
                yield f"{name} was typed as {value!r}, and the plan has {planned!r}"
    yield from _wrong_folder(typed, request, answered.plans)


def typed_values(words: Sequence[str], schema: Any) -> dict[str, Any]:
    """What the words give the settings that they name, as far as that is plain."""
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        default = OmegaConf.select(schema, name) if equals and re.fullmatch(r"[A-Za-z_0-9.]+", name) else None
        if default is None or OmegaConf.is_dict(default):
            continue
        values.pop(name, None)
        with contextlib.suppress(ValueError):
            values[name] = _read(text, default)
    return values


def _read(text: str, default: Any) -> Any:
    """A value as yacs reads it, and text as it is typed. Raises ValueError where it is not plain."""
    if "${" in text or "{" in text:
        raise ValueError
    if isinstance(default, Enum):
        return text.strip("'\"")
    if isinstance(default, bool):
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _no()
    if isinstance(default, str):
        return literal_eval(text) if re.fullmatch(r"'[^'\\]*'|\"[^\"\\]*\"", text) else text
    read = CfgNode._decode_cfg_value(_quoted(text) if OmegaConf.is_list(default) else text)
    wanted = {int: (int,), float: (int, float)}.get(type(default), (list, tuple))
    return read if isinstance(read, wanted) and not isinstance(read, bool) else _no()


def _no() -> Any:
    raise ValueError


def _quoted(text: str) -> str:
    """A list with its words in quotes, as yacs wants them."""
    return text if "'" in text or '"' in text else re.sub(r"(?<=[\[,])([^\W\d]\w*)(?=[,\]])", r"'\1'", text)


def _value_in(request: RunRequest, name: str) -> Any:
    if name[0].isupper():
        return request.keys.get(name, None)
    value: Any = request.own_code if hasattr(request.own_code, name) else request
    for part in name.split("."):
        value = getattr(value, f"{part}_" if part == "async" else part)
    return value


def _same(name: str, typed: Any, got: Any) -> bool:
    if isinstance(got, Enum):
        return bool(got.name == typed)
    if name in PATH_SETTINGS and isinstance(typed, str) and "://" not in typed:
        asked = os.path.expanduser(os.path.expandvars(typed))
        return got in (asked, typed) or (bool(typed) and Path(got) == Path(asked))
    if isinstance(typed, tuple | list):
        return isinstance(got, list | tuple) and [*map(_plain, typed)] == [*map(_plain, got)]
    return (type(got) is not bool and not isinstance(typed, bool) and got == typed) or got is typed


def _plain(value: Any) -> Any:
    return [*map(_plain, value)] if isinstance(value, tuple | list) else (type(value) is bool, value)


def _is_reported(name: str, made: RunPlan) -> bool:
    return any(one.setting == name for one in made.report.adjustments) or any(
        name in notice for notice in made.report.notices
    )


def _wrong_folder(typed: dict[str, Any], request: RunRequest, plans: Sequence[RunPlan]) -> Iterator[str]:
    above = next((typed[name] for name in ("OUTPUT_DIR", "run.root") if name in typed), None)
    if above is None:
        return
    wanted = Path(os.path.expanduser(os.path.expandvars(above))).absolute()
    for folder in (run_folder(request), *(Path(made.folder) for made in plans)):
        is_right = folder == wanted if "OUTPUT_DIR" in typed else folder.is_relative_to(wanted) and folder != wanted
        if not is_right:
            yield f"the run folder is {folder}, and {wanted} was typed"


def _complaint(answered: Answered) -> str:
    if answered.code not in ANSWERS:
        return f"exit code {answered.code}: {answered.screen}"
    if "Traceback" in answered.screen or "\x1b[2J" in answered.screen:
        return f"a traceback, or what a terminal obeys, is printed: {answered.screen!a}"
    if "\nType:\n" not in answered.screen:
        return ""
    corrected = plan(tuple(shlex.split(answered.screen.rpartition("\nType:\n")[2])[2:]))
    is_refused = corrected.error or (corrected.code == 2 and not corrected.requests)
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
    (folder / "images").mkdir()
    Image.new("RGB", (64, 48), "white").save(folder / "images" / "1.png")
    (folder / "train.json").write_text(json.dumps(DATA))
    (folder / "file.json").write_text(json.dumps({"images": []}))
    os.mkfifo(folder / "pipe")


def _write_file(draw: random.Random) -> None:
    content = "# @package _global_\n" * draw.choice((0, 1)) + "\n".join(draw.sample(LINES_OF_FILES, draw.randint(1, 2)))
    Path("conf/experiment/mine.yaml").write_bytes(content.encode(errors="surrogateescape"))


def _give_up(*_: Any) -> None:
    raise TimeoutError(f"no answer in {DEADLINE_S} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
