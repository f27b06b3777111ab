"""Finding a user's modules and trainer; what is wrong with them is said in their words."""

from __future__ import annotations

import re
import sys
import textwrap  # noqa: F401 - found before another of its name
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.config.request import OwnCode
from launcher.errors import RequestError
from launcher.train.own_code import load_own_code
from launcher.train.trainer import Trainer

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes modules into the current folder, which is on Python's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)

    def into(files: dict[str, str] | None = None, **texts: str) -> None:
        for name, text in {**texts, **(files or {})}.items():
            file = tmp_path / (name if name.endswith(".py") else f"{name}.py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    yield into
    for name in set(sys.modules) - known:
        del sys.modules[name]


def refusal(**asked: object) -> str:
    with pytest.raises(RequestError) as refused:
        load_own_code(OwnCode(**asked))  # type: ignore[arg-type]
    return str(refused.value)


def test_without_a_trainer_of_ones_own_the_launchers_trains():
    assert load_own_code(OwnCode()) is Trainer


def test_modules_are_imported_in_their_order_before_the_trainer(write: Write):
    note = "import builtins; builtins.seen_by_a_test = [*getattr(builtins, 'seen_by_a_test', []), __name__]\n"
    trainer = "from launcher.train import Trainer\nclass Mine(Trainer):\n    class Inner(Trainer): ...\n"
    write(own_two=note, own_one=note, own_trainer=note + trainer)

    found = load_own_code(OwnCode(imports=("own_two", "own_one"), trainer="own_trainer:Mine"))
    inner = load_own_code(OwnCode(trainer="own_trainer:Mine.Inner"))

    import builtins

    assert vars(builtins).pop("seen_by_a_test") == ["own_two", "own_one", "own_trainer"]
    assert (found.__qualname__, inner.__qualname__) == ("Mine", "Mine.Inner")


def test_a_package_in_the_current_folder_may_import_relatively(write: Write):
    names, data = "CLASSES = ['a']\n", "from .names import CLASSES\n"
    write({"own_package/__init__.py": "", "own_package/names.py": names, "own_package/data.py": data})

    load_own_code(OwnCode(imports=("own_package.data",)))

    assert sys.modules["own_package.data"].CLASSES == ["a"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("own_dat", r"no module own_dat is in the current folder \(.*\), on .* Did you mean own_data\?"),
        ("far", r"There is .*/deep/down/far\.py: set PYTHONPATH=.*/deep/down, or run the command in that folder\."),
        ("inner", r"There is .*/own_pack/inner\.py, in a package: name it own_pack\.inner\."),
        ("own_pack.iner", r"no module own_pack\.iner is in .* Did you mean own_pack\.inner\?"),
        ("utterly_unlike", r"set PYTHONPATH to that folder, or install it\."),
    ],
)
def test_a_module_that_is_not_there_is_named_with_where_it_lies(write: Write, asked: str, says: str):
    write(dict.fromkeys(["own_data.py", "deep/down/far.py", "own_pack/__init__.py", "own_pack/inner.py"], ""))

    with pytest.raises(RequestError, match=rf"^imports names {asked}, but .*{says}"):
        load_own_code(OwnCode(imports=(asked,)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def fail():\n    raise ValueError('boom')\nfail()\n", "ValueError: boom"),
        ("import not_installed_anywhere\n", "Install not_installed_anywhere for this Python, or leave own_broken out."),
        ("from . import data\n", "Name it with its package, from the folder above: PACKAGE.own_broken"),
        ("def (:\n", "SyntaxError"),
        ("raise SystemExit(2)\n", "Put what is to run in a program of its own under if __name__ == '__main__'."),
    ],
)
def test_a_module_that_fails_is_shown_with_its_own_traceback_only(write: Write, text: str, says: str):
    write(own_broken=text)

    message = refusal(imports=("own_broken",))

    assert message.startswith("imports names own_broken, which fails when it is imported: ")
    assert says in message
    assert "own_broken.py" in message
    assert "launcher/train" not in message
    assert "importlib" not in message


def test_a_data_set_that_is_registered_twice_is_named_with_the_line_that_does_it(write: Write):
    from detectron2.data import DatasetCatalog

    register = "DatasetCatalog.register('own_twice', list)\n"
    write(own_twice="from detectron2.data import DatasetCatalog\n" + 2 * register)

    message = refusal(imports=("own_twice",))

    DatasetCatalog.remove("own_twice")
    assert "Dataset 'own_twice' is already registered!" in message
    assert 'own_twice.py", line 3' in message


@pytest.mark.parametrize(
    ("trainer", "says"),
    [
        ("own_trainers:Mien", "own_trainers.py has no Mien. Did you mean trainer=own_trainers:Mine?"),
        ("own_trainers:nothing_like_it", "Did you mean trainer=own_trainers:Mine?"),
        (
            "own_trainers:Stock",
            "detectron2.engine.defaults.DefaultTrainer cannot train here: it is no subclass of launcher.train.Trainer.",
        ),
        ("own_trainers:Steps", "Steps.run_step would have no effect"),
        ("own_trainer:Mine", "trainer=own_trainer:Mine, but no module own_trainer is in the current folder"),
    ],
)
def test_a_trainer_that_cannot_train_is_refused_by_name(write: Write, trainer: str, says: str):
    write(
        own_trainers="from launcher.train import Trainer\n"
        "from detectron2.engine import DefaultTrainer as Stock\n"
        "class Mine(Trainer): ...\n"
        "class Steps(Trainer):\n    def run_step(self): ...\n"
    )

    assert says in refusal(trainer=trainer)


def test_a_gpu_that_fails_during_an_import_is_no_mistake_of_the_module(write: Write):
    write(own_cuda="raise RuntimeError('CUDA error: an illegal memory access was encountered')\n")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        load_own_code(OwnCode(imports=("own_cuda",)))


@pytest.mark.parametrize(("name", "other"), [("textwrap", r"textwrap\.py"), ("sys", "a part of Python")])
def test_a_module_that_another_one_hides_is_named(write: Write, name: str, other: str):
    write({f"{name}.py": ""})

    assert re.search(rf"imports names {name}, but .*{other}.*Rename yours", refusal(imports=(name,)))
