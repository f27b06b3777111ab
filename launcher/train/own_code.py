"""A user's own code by name: its modules are imported, its trainer is found, its mistakes are shown as its own."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from launcher.config.request import OwnCode
from launcher.errors import RequestError
from launcher.train.build import check_overrides
from launcher.train.failures import cuda_code
from launcher.train.trainer import Trainer

NOT_THEIRS = (__file__, importlib.__file__, "<frozen importlib")
MOST_FOLDERS = 500
"""That are looked through for a module that is not found."""


def load_own_code(asked: OwnCode) -> type[Trainer]:
    """Import the user's modules, in their order, and return the class that trains.

    Raises:
        RequestError: a module cannot be imported, or the trainer cannot train here.
    """
    for name in asked.imports:
        _import(name, f"imports names {name}")
    trainer_class = _find_trainer(asked.trainer) if asked.trainer else Trainer
    check_overrides(trainer_class)
    return trainer_class


def _find_trainer(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    module = _import(module_name, f"trainer={name}")
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise RequestError(
            f"trainer={name}, but {_place_of(module)} has no {attribute}{_did_you_mean(attribute, module)}"
        )
    return found


def _place_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _did_you_mean(attribute: str, module: ModuleType) -> str:
    trainers = [name for name, one in vars(module).items() if isinstance(one, type) and issubclass(one, Trainer)]
    near = get_close_matches(attribute, [*vars(module)], n=1) or [name for name in trainers if name != "Trainer"]
    if not near:
        return ", nor any trainer. Write trainer=MODULE:CLASS, where CLASS is a subclass of launcher.train.Trainer."
    return f". Did you mean trainer={module.__name__}:{near[0]}?"


def _import(name: str, asked: str) -> ModuleType:
    try:
        module = importlib.import_module(name)
        _refuse_another(module, asked)
        return module
    except RequestError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise RequestError(f"{asked}, but {_not_found(error.name)}") from error
        raise _failing(name, asked, error) from error
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and cuda_code(error) is not None:
            raise  # the GPU failed, whoever asked it first
        raise _failing(name, asked, error) from error


def _refuse_another(module: ModuleType, asked: str) -> None:
    """Raises RequestError where a module of that name lies in the current folder, and another one was found first."""
    top = module.__name__.partition(".")[0]
    found = getattr(sys.modules[top], "__file__", None)
    for meant in (Path.cwd() / f"{top}.py", Path.cwd() / top / "__init__.py"):
        if meant.is_file() and not (found and os.path.samefile(found, meant)):
            raise RequestError(
                f"{asked}, but of that name there is also {found or 'a part of Python'}, which is found before "
                f"{meant}. Rename yours, or set PYTHONPATH to its folder, if nothing installed needs the other one."
            )


def _failing(name: str, asked: str, error: BaseException) -> RequestError:
    shown = traceback.TracebackException.from_exception(error)
    shown.stack[:] = [frame for frame in shown.stack if not frame.filename.startswith(NOT_THEIRS)]
    lines = "".join(shown.format()).rstrip()
    summary = traceback.format_exception_only(error)[-1].strip()
    return RequestError(f"{asked}, which fails when it is imported: {summary}\n{lines}\n{_remedy(name, error)}")


def _remedy(name: str, error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"{name} ends the process. Put what is to run in a program of its own under if __name__ == '__main__'."
    if isinstance(error, ModuleNotFoundError):
        return f"Install {error.name} for this Python, or leave {name} out."
    if "no known parent package" in str(error):
        return f"Name it with its package, from the folder above: PACKAGE.{name}"
    if asks_for_gpu(error):
        return (
            f"{name} asks for a GPU when it is imported, and this process has none. Do that in a function, or train "
            "on a GPU."
        )
    return f"Fix it, or leave {name} out."


def asks_for_gpu(error: BaseException) -> bool:
    """Whether torch refused it for lack of a GPU, rather than that a GPU failed."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and f"{os.sep}torch{os.sep}cuda{os.sep}" in frames[-1].filename


def _not_found(missing: str) -> str:
    where = f"no module {missing} is in the current folder ({Path.cwd()}), on PYTHONPATH or installed."
    parts = Path(*missing.split("."))
    for folder in _folders_below(Path.cwd()):
        file = (folder / parts).with_suffix(".py")
        if not (file.is_file() or (folder / parts / "__init__.py").is_file()):
            continue
        there = f"{where} There is {file if file.is_file() else folder / parts}"
        if (folder / "__init__.py").is_file():
            return f"{there}, in a package: name it {'.'.join([*folder.relative_to(Path.cwd()).parts, missing])}."
        return f"{there}: set PYTHONPATH={folder}, or run the command in that folder."
    if near := get_close_matches(missing, sorted(_modules_beside(parts)), n=1):
        return f"{where} Did you mean {near[0]}?"
    return f"{where} Run the command in the folder that holds it, set PYTHONPATH to that folder, or install it."


def _folders_below(top: Path) -> Iterator[Path]:
    """This folder and those in it, without hidden ones, as far as there are not too many."""
    for number, (folder, folders, _) in enumerate(os.walk(top)):
        if number == MOST_FOLDERS:
            return
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        yield Path(folder)


def _modules_beside(parts: Path) -> Iterator[str]:
    """The modules of the same package, by their whole names."""
    package = parts.parent
    for entry in Path.cwd().joinpath(package).glob("*"):
        if entry.suffix == ".py" or (entry / "__init__.py").is_file():
            yield ".".join([*package.parts, entry.stem])
