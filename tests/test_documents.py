"""Every command of README.md and docs/ is run, on small data, in a folder that has what it names.

What a page shows is taken out of it by tests/documents.py, tests/world.py makes the folder. A command that cannot be
run has a note above its block; the notes are counted here, so that each new one is meant.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.cli.main import COMMANDS
from launcher.cli.words import FOLLOWS
from tests.documents import (
    NOT_RUN,
    PAGES,
    REPOSITORY,
    Command,
    command_lines,
    inline_commands,
    shown_in,
    without_comment,
)
from tests.forked import run_launcher, run_python
from tests.world import QUICK, shortened, write_program, write_world

RUN_ELSEWHERE = {
    "docs/extending.md": "tests/test_extending.py trains each example, kills it and resumes it",
    "docs/predict.md": "tests/test_predict.py runs each line and looks at what it wrote",
}
NOTED = {"minutes": 9, "network": 7, "slurm": 7, "stays": 1, "elsewhere": 1}
"""How many commands are not run, by reason."""
DEPENDS_ON_MACHINE = {"doctor": (0, 4)}
"""Exit codes of commands that say how things are."""
TRAINED = (
    "launcher train experiment=demo run.name=default checkpoint.keep_best=bbox/AP",
    "launcher train experiment=coco run.name=default",
    "launcher train -m experiment=demo SOLVER.BASE_LR=0.01,0.02 sweep.name=BASE_LR",
)
COPIES = {"demo/second": "demo/default", "demo/longer": "demo/default", "coco/BASE_LR=0.01": "coco/default"}
"""Runs that pages name, each with the one that it is a copy of."""
SHELL = re.compile(r"[|&;<>*$]")
"""What a shell does more than to split words; in a value it costs a process more, and nothing else."""
SHOWN = {page: shown_in(page) for page in PAGES}
TO_RUN = [page for page, shown in SHOWN.items() if page not in RUN_ELSEWHERE and (shown.commands or shown.programs)]


def all_commands() -> Iterator[Command]:
    return (command for shown in SHOWN.values() for command in shown.commands)


def test_what_is_not_run_has_a_reason_and_is_counted():
    noted = Counter(command.not_run for command in all_commands() if command.not_run)

    assert set(noted) <= set(NOT_RUN)
    assert dict(noted) == {reason: number for reason, number in NOTED.items() if number}
    assert noted.total() < 0.4 * len(list(all_commands()))


def test_no_note_is_without_a_block():
    for page in PAGES:
        notes = (REPOSITORY / page).read_text().count("<!-- not run: ")
        by_lines = sum(1 for command in SHOWN[page].commands if command.not_run)
        assert bool(notes) == bool(by_lines), page


@pytest.mark.parametrize("page", PAGES)
def test_a_command_within_a_sentence_exists_with_its_options(page: str):
    for line, text in inline_commands(page):
        _, name, *words = text.split()
        is_setting = "=" in name or name.startswith("-")
        assert is_setting or name in COMMANDS or name == "COMMAND", f"{page}:{line}: `{text}`: no command {name}"
        known = (*FOLLOWS[name].options, "--help") if name in FOLLOWS else ()
        unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
        assert not known or not unknown, f"{page}:{line}: `{text}`: no option {unknown}"


# Running them


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory, launcher_environment: dict[str, str]) -> dict[str, str]:
    """Of a shell whose `launcher` trains for seconds, and whose home may be written to."""
    folder = tmp_path_factory.mktemp("programs")
    programs = write_program(folder / "bin")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = folder / "home"
    home.mkdir()
    path = f"{programs}{os.pathsep}{launcher_environment['PATH']}"
    kept = {name: value for name, value in launcher_environment.items() if name != "DETECTRON2_DATASETS"}
    return {**kept, "PATH": path, "HOME": str(home), "XDG_CACHE_HOME": cache, "SHELL": "/bin/bash", "COLUMNS": "100"}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, small_demo: Path, environ: dict[str, str]) -> Path:
    """Trained once for all pages."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, small_demo)
    for typed in TRAINED:
        done = run(typed, folder, environ)
        assert done.returncode == 0, done.stderr
    for name, source in COPIES.items():
        shutil.copytree(folder / "outputs" / source, folder / "outputs" / name)
    shutil.copy(folder / "outputs/demo/default/checkpoints/model_final.pth", folder / "weights.pth")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", TO_RUN)
def test_the_commands_of_a_page_do_what_it_says(page: str, world: Path, environ: dict[str, str], tmp_path: Path):
    shown = SHOWN[page]
    here = shutil.copytree(world, tmp_path / "here", symlinks=True)
    for name, content in shown.files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(content)

    failed = [problem for command in shown.commands if (problem := problem_with(command, here, environ))]
    for line, program in shown.programs:
        done = run_python(program, folder=here, environ=environ)
        failed += [f"{page}:{line}: python ended with {done.returncode}\n{done.stderr}"] if done.returncode else []

    assert not failed, "\n\n".join(failed)


def problem_with(command: Command, here: Path, environ: dict[str, str]) -> str:
    """What went otherwise than the page says; empty where all went well, or a note says why it is not run."""
    if command.not_run:
        return ""
    done = run(command.text, here, environ)
    name = command.text.split()[1] if command.text.startswith("launcher ") else ""
    expected = (command.ends_with,) if command.ends_with else DEPENDS_ON_MACHINE.get(name, (0,))
    if done.returncode in expected:
        return ""
    return f"{command.place}: `{command.text}` ended with {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"


def run(text: str, here: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A plain command of the launcher in a process that has torch already; anything else by a shell."""
    words = shlex.split(text)
    if words[0] == "launcher" and not SHELL.search(text):
        return run_launcher(shortened(words[1:]), folder=here, environ=environ)
    command = ["bash", "-c", text]
    return subprocess.run(
        command,
        cwd=here,
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        stdin=subprocess.DEVNULL,
    )


# Reading pages

PAGE = """\
Text with `launcher eval RUN`.

<!-- not run: network: model=COCO -->
<!-- ends with: 2 -->
```
launcher predict model=COCO-Detection/x photo.jpg   # downloads
launcher predict run \\
    photos/
  printed
error: something
```

```yaml
# my/experiment/a.yaml:   launcher train --config-dir my experiment=a
A: 1
```

```python
print("#")
```
"""


def test_a_page_is_taken_apart_into_commands_files_and_programs():
    shown = shown_in("a page", PAGE)

    assert [(one.line, one.text, one.not_run, one.ends_with) for one in shown.commands] == [
        (6, "launcher predict model=COCO-Detection/x photo.jpg", "network", 2),
        (7, "launcher predict run photos/", "", 2),
        (14, "launcher train --config-dir my experiment=a", "", 0),
    ]
    assert list(shown.files) == ["my/experiment/a.yaml"]
    assert shown.programs == ((19, 'print("#")\n'),)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("launcher runs    # all", "launcher runs"),
        ("launcher explain 'a # b' # c", "launcher explain 'a # b'"),
        ("launcher train a=b#c", "launcher train a=b#c"),
    ],
)
def test_a_comment_is_what_a_shell_takes_for_one(line: str, text: str):
    assert without_comment(line) == text


def test_a_prompt_is_no_part_of_a_command():
    assert list(command_lines("$ launcher runs\noutput\n")) == [(0, "launcher runs")]


@pytest.mark.parametrize(
    ("arguments", "is_shortened"),
    [
        (["train", "experiment=demo"], True),
        (["experiment=demo"], True),
        (["train", "--help"], False),
        (["plan", "experiment=demo"], False),
        (["explain", "gpu.none"], False),
    ],
)
def test_only_trainings_are_shortened(arguments: list[str], is_shortened: bool):
    assert (QUICK[0] in shortened(arguments)) == is_shortened
