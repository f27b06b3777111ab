"""The tab key: what could be typed, and that bash, zsh and fish get it, each a real one."""

from __future__ import annotations

import os
import pty
import re
import resource
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from launcher.cli.candidates import candidates, split_line
from launcher.cli.completion import MARK, SCRIPTS, install, places_of, uninstall
from launcher.cli.main import COMMANDS, main
from launcher.cli.words import FOLLOWS
from launcher.errors import ExitCode
from launcher.files import write_text

NAMES = tuple(COMMANDS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("launcher ", set(COMMANDS)),
        ("launcher do", {"doctor"}),
        ("launcher train mod", {"model="}),
        ("launcher train SOL", {"SOLVER."}),
        ("launcher SOLVER.LR", {"SOLVER.LR_SCHEDULER_NAME="}),
        ("launcher train device=c", {"device=cpu", "device=cuda"}),
        ("launcher train device.choice=m", {"device.choice=mps"}),
        ("launcher train SOLVER.AMP.ENABLED=", {"SOLVER.AMP.ENABLED=True", "SOLVER.AMP.ENABLED=False"}),
        ("launcher train checkpoint.async=", {"checkpoint.async=true", "checkpoint.async=false"}),
        ("launcher train -m device=cpu,cu", {"device=cpu,cuda"}),
        ("launcher train SOLVER.BASE_LR=", {"SOLVER.BASE_LR=0.001"}),
        ("launcher train resume=m", {"resume=must"}),
        ("launcher train --cfg ", {"job", "hydra", "all"}),
        ("launcher plan --jso", {"--json"}),
        ("launcher explain driver.too", {"driver.too_old"}),
        ("launcher explain SOLVER.WEIGHT_DECAY_N", {"SOLVER.WEIGHT_DECAY_NORM"}),
        ("launcher list m", {"models"}),
        ("launcher list models ", set()),
        ("launcher completion z", {"zsh"}),
        ("launcher train dataset.train.json=", set()),
        ("launcher nonsense ", set()),
        ("launcher train 'unclosed", set()),
        ("", set()),
    ],
)
def test_what_could_stand_at_the_cursor(line: str, expected: set[str]):
    assert set(candidates(line, NAMES)) == expected


def test_a_model_is_completed_by_its_name_with_a_slash():
    found = candidates("launcher train model=COCO-Detection/retina", NAMES)

    assert "model=COCO-Detection/retinanet_R_50_FPN_1x" in found
    assert all(one.startswith("model=COCO-Detection/retinanet") for one in found)


def test_experiments_of_ones_own_are_completed(tmp_path: Path):
    write_text(tmp_path / "experiment/fruits.yaml", "# @package _global_\n")

    assert candidates(f"launcher train --config-dir {tmp_path} experiment=fr", NAMES) == ["experiment=fruits"]


@pytest.mark.parametrize("command", [name for name, follows in FOLLOWS.items() if follows.runs])
def test_runs_are_completed_by_name(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_text(tmp_path / "outputs/demo/default/request.yaml", "")
    monkeypatch.chdir(tmp_path)

    assert "demo/default" in candidates(f"launcher {command} de", NAMES)
    assert "demo/default" not in candidates(f"launcher {command} demo/default {'demo/default ' * 2}", NAMES)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("launcher tr", ["launcher", "tr"]),
        ("launcher train ", ["launcher", "train", ""]),
        ("launcher 'run.name=a b' x", ["launcher", "run.name=a b", "x"]),
        ("launcher 'a b", ["launcher", "'a", "b"]),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str]):
    assert split_line(line) == words


OPTION = re.compile(r"(?:^ +(?:-\w+, ?)?|\[(?:-\w \| )?)(--[a-z][a-z-]+)", re.MULTILINE)
"""At the beginning of a line, or in brackets; not in a sentence."""
WITH_OPTIONS_OF_OTHERS = ("tensorboard",)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in WITH_OPTIONS_OF_OTHERS])
def test_the_options_of_a_command_are_those_of_its_help(command: str, capsys: pytest.CaptureFixture[str]):
    """The tab key has no time to ask each command."""
    with suppress(SystemExit):
        main([command, "--help"])

    shown = set(OPTION.findall(capsys.readouterr().out)) - {"--help"}
    declared = set(FOLLOWS[command].options) - {"--help"} if command in FOLLOWS else set()
    assert shown <= declared, f"launcher/cli/words.py lacks options of {command}"


def test_it_takes_less_than_half_a_second_of_computing():
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    command = [sys.executable, "-m", "launcher", "completion", "words", "--", "launcher train SOLVER.LR"]
    subprocess.run(command, check=True, capture_output=True)  # the first after an installation reads detectron2
    before = used()
    done = subprocess.run(command, check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["SOLVER.LR_SCHEDULER_NAME="]
    assert used() - before < 0.5


def test_completing_imports_neither_torch_nor_hydra():
    code = (
        "import sys; from launcher.cli.main import main; main(['completion', 'words', '--', 'launcher train model=']);"
        "print([name for name in ('torch', 'hydra', 'omegaconf', 'detectron2') if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.splitlines()[-1] == "[]"


# In its place


@pytest.mark.parametrize("shell", SCRIPTS)
def test_installing_twice_is_installing_once_and_can_be_undone(shell: str, tmp_path: Path):
    places = places_of(shell, {"HOME": str(tmp_path)})
    if places.startup is not None:
        places.startup.write_text("alias a=b")

    install(shell, places)
    message = install(shell, places)

    assert str(places.script) in message
    assert places.script.read_text() == SCRIPTS[shell]
    if places.startup is not None:
        assert places.startup.read_text() == f"alias a=b\n{places.line}\n"
    uninstall(shell, places)
    assert not places.script.exists()
    assert places.startup is None or MARK not in places.startup.read_text()


def test_a_startup_file_that_is_a_link_stays_one(tmp_path: Path):
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "dotfiles/bashrc").write_text("")
    (tmp_path / ".bashrc").symlink_to(tmp_path / "dotfiles/bashrc")

    install("bash", places_of("bash", {"HOME": str(tmp_path)}))

    assert (tmp_path / ".bashrc").is_symlink()
    assert MARK in (tmp_path / "dotfiles/bashrc").read_text()


def test_a_shell_that_is_not_known_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("SHELL", "/bin/tcsh")

    assert main(["completion", "install"]) == ExitCode.request_wrong
    assert "launcher completion install bash" in capsys.readouterr().err


def test_a_home_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    assert main(["completion", "install", "bash"]) == ExitCode.request_wrong
    assert "`launcher completion bash` prints the script" in capsys.readouterr().err


# Real shells


@contextmanager
def terminal(command: list[str], folder: Path, environ: dict[str, str]) -> Iterator[int]:
    """A shell that believes to talk to a person."""
    process, screen = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, environ)
    try:
        yield screen
    finally:
        os.close(screen)
        os.waitpid(process, 0)


def type_in(screen: int, keys: str, until: str, seconds: float = 30.0) -> str:
    """Press these keys, and give what the screen shows once that is on it."""
    os.write(screen, keys.encode())
    shown, end = "", time.monotonic() + seconds
    while until not in _plain(shown) and time.monotonic() < end:
        if select.select([screen], [], [], 0.2)[0]:
            try:
                shown += os.read(screen, 65536).decode(errors="replace")
            except OSError:
                break
    return _plain(shown)


def _plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|[\r\x07\x08]", "", shown)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With completion installed for each shell, a run and an experiment of one's own."""
    for shell in SCRIPTS:
        install(shell, places_of(shell, {"HOME": str(tmp_path)}))
    write_text(tmp_path / "outputs/demo/default/request.yaml", "")
    write_text(tmp_path / "mine/experiment/fruits.yaml", "# @package _global_\n")
    (tmp_path / "train.json").write_text("{}")
    return tmp_path


@pytest.fixture
def environ(
    home: Path, launcher_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Of a shell whose PATH has this launcher."""
    programs = tmp_path_factory.mktemp("bin")
    (programs / "launcher").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m launcher "$@"\n')
    (programs / "launcher").chmod(0o755)
    unwanted = ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR")
    kept = {name: value for name, value in launcher_environment.items() if name not in unwanted}
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = f"{programs}{os.pathsep}{kept['PATH']}"
    return {
        **kept,
        "HOME": str(home),
        "PATH": path,
        "XDG_CACHE_HOME": cache,
        "PS1": "> ",
        "TERM": "xterm",
        "COLUMNS": "200",
    }


TYPED = [
    ("launcher docto", "launcher doctor "),
    ("launcher train device=cp", "device=cpu "),
    ("launcher train SOLVER.LR_SCH", "SOLVER.LR_SCHEDULER_NAME="),
    ("launcher train SOLVER.LR_SCHEDULER_NAME=WarmupC", "SOLVER.LR_SCHEDULER_NAME=WarmupCosineLR "),
    ("launcher plan model=COCO-Keypoints/keypoint_rcnn_R_101", "COCO-Keypoints/keypoint_rcnn_R_101_FPN_3x "),
    ("launcher train --config-dir mine experiment=fr", "experiment=fruits "),
    ("launcher status dem", "demo/default "),
    ("launcher train dataset.train.json=tra", "dataset.train.json=train.json "),
]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_real_shell_completes(shell: str, home: Path, environ: dict[str, str]):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = ["bash", "--rcfile", str(home / ".bashrc"), "-i"] if shell == "bash" else ["zsh", "-i"]
    if shell == "zsh":
        rc = home / ".zshrc"
        rc.write_text("PS1='> '\nautoload -Uz compinit && compinit -u\n" + rc.read_text())
    with terminal(command, home, environ) as screen:
        type_in(screen, "", until="> ")
        for typed, completed in TYPED:
            assert completed in type_in(screen, f"{typed}\t", until=completed), typed
            type_in(screen, "\x15", until="nothing more", seconds=0.3)
        os.write(screen, b"exit\n")


def test_a_real_fish_completes(home: Path, environ: dict[str, str]):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    asked = "; ".join(f"complete -C '{typed}'; echo ." for typed, _ in TYPED)

    done = subprocess.run(["fish", "-c", asked], cwd=home, env=environ, capture_output=True, text=True, check=True)

    shown = [part.split("\t")[0].split() for part in done.stdout.split(".\n")]
    assert [(typed, words) for (typed, completed), words in zip(TYPED, shown, strict=False) if not words] == []
    for (_, completed), words in zip(TYPED, shown, strict=False):
        assert words[0].endswith(completed.split()[-1]), (completed, words)
