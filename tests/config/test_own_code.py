"""Asking a child process about a user's code, and keeping the answer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.config import own_code
from launcher.config.own_code import OwnCodeFacts, look_at_own_code
from launcher.config.request import OwnCode
from launcher.errors import RequestError
from tests.conftest import REPOSITORY

ANSWERS = """
import json, os, sys
from pathlib import Path
count = Path("asked"); count.write_text(count.read_text() + "x" if count.exists() else "x")
exec(Path("own.py").read_text())
"""
GIVES = """
classes = [os.environ.get("OWN_CLASSES", "fig")]
answer = {"registered": ["own"], "data_sets": {"own": {"classes": classes, "is_semantic": False, "unreadable": ""}},
          "needs_gpu": "", "files": [os.path.abspath("own.py"), "/gone"], "variables": ["OWN_CLASSES"]}
Path(sys.argv[1]).write_text(json.dumps(answer))
"""
ASKED = OwnCode(imports=("own",), trainer="mine:Mine")


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small program in place of the one that imports torch; `own.py` is what it does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answers.py").write_text(ANSWERS)
    monkeypatch.setattr(own_code, "CHILD_PROGRAM", "answers")

    def with_code(code: str) -> None:
        (tmp_path / "own.py").write_text(code)

    with_code(GIVES)
    return with_code


def ask(folder: Path, asked: OwnCode = ASKED, **environ: str) -> OwnCodeFacts | None:
    environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(folder / "cache"), **environ}
    return look_at_own_code(asked, ["own"], environ=environ, deadline_s=10)


def times_asked(folder: Path) -> int:
    return len((folder / "asked").read_text())


def test_without_code_nobody_is_asked():
    assert look_at_own_code(OwnCode(config_extensions=("a:b",)), ["own"]) is None


def test_the_answer_is_kept_until_a_file_or_a_variable_changes(answering: Any, tmp_path: Path):
    first, again = ask(tmp_path), ask(tmp_path, UNRELATED="1")
    assert first == again
    assert first is not None
    assert first.data_sets["own"].classes == ("fig",)
    assert times_asked(tmp_path) == 1

    by_variable = ask(tmp_path, OWN_CLASSES="date")
    answering(GIVES + "# longer\n")
    by_file = ask(tmp_path, OWN_CLASSES="date")

    assert by_variable is not None
    assert by_variable.data_sets["own"].classes == ("date",)
    assert by_file == by_variable
    assert times_asked(tmp_path) == 3


def test_values_of_variables_are_not_kept(answering: Any, tmp_path: Path):  # noqa: ARG001
    ask(tmp_path, OWN_CLASSES="a secret name")

    kept = json.loads(next((tmp_path / "cache").rglob("own-code-*.json")).read_text())
    assert "a secret name" not in json.dumps(kept["environment"])


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ('Path(sys.argv[1]).write_text(json.dumps({"problem": "it is wrong"}))', "^it is wrong$"),
        (
            "print('last words', flush=True); os._exit(3)",
            r"(?s)^imports=\[own\] trainer=mine:Mine: .*ended with exit code 3.*last",
        ),
        ("os.kill(os.getpid(), 11)", r'(?s)died of SIGSEGV.*python -c "import own, mine"'),
        ("import time; time.sleep(60)", "took longer than 1 s. Put what takes long into a function"),
    ],
)
def test_code_that_cannot_be_imported_is_refused_and_asked_again(answering: Any, tmp_path: Path, code: str, says: str):
    answering(code)

    for _ in range(2):
        with pytest.raises(RequestError, match=says):
            look_at_own_code(ASKED, [], environ={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, deadline_s=1)

    assert times_asked(tmp_path) == 2


def test_the_real_child_imports_neither_in_this_process_nor_where_a_gpu_is(tmp_path: Path, monkeypatch):
    (tmp_path / "own_real.py").write_text(
        "import os\nfrom detectron2.data import DatasetCatalog, MetadataCatalog\n"
        "DatasetCatalog.register('own', list)\n"
        "MetadataCatalog.get('own').thing_classes = [os.environ['CUDA_VISIBLE_DEVICES'] or 'none']\n"
    )
    monkeypatch.chdir(tmp_path)
    environ = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "CUDA_VISIBLE_DEVICES": "0",
        "XDG_CACHE_HOME": str(tmp_path),
    }

    found = look_at_own_code(OwnCode(imports=("own_real",)), ["own"], environ=environ)

    assert found is not None
    assert found.data_sets["own"].classes == ("none",)
    assert "own_real" not in sys.modules
