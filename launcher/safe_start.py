"""Starting Python so that files of the current folder replace nothing that is installed.

`python -m` and `python -c` put the current folder first: a `random.py` or `types.py` that lies there would be imported
by torch. Our processes find modules on PYTHONPATH and among what is installed, and last in the current folder; their
`launcher` is the one that started them.

A child runs this before anything else: only what Python itself has imported by then is imported here.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
ABOVE = os.path.dirname(HERE)
BOOTSTRAP = (
    "import sys; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; from launcher.safe_start import run; run()"
)


def python_command(module: str, *options: str) -> list[str]:
    """What starts `python -m module` that way; the module's own arguments follow."""
    # Handed on to processes that the child's multiprocessing starts; see `_start_safely` for older versions.
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe, *options, "-c", BOOTSTRAP, ABOVE, module]


def run() -> None:
    """The child's end: run the module that the first argument names."""
    sys.path[:] = import_path(sys.path[1:])
    module = sys.argv.pop(1)
    drop_empty_parts(os.environ)
    if sys.version_info < (3, 11):
        _start_safely()
    from runpy import run_module  # only now it is the installed one

    run_module(module, run_name="__main__", alter_sys=True)


def drop_empty_parts(environ: MutableMapping[str, str]) -> None:
    """Of PYTHONPATH, where an accident like `$PYTHONPATH:/more` puts the current folder before all else."""
    parts = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    if parts:
        environ["PYTHONPATH"] = os.pathsep.join(parts)
    else:
        environ.pop("PYTHONPATH", None)


def import_path(path: Sequence[str]) -> list[str]:
    """That search path with the current folder at its end, unless PYTHONPATH names it, and with this launcher first.

    A folder of sources, from which `python -m launcher` runs without being installed, comes last too.
    """
    here = current_folder()
    named = [os.path.join(here, entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    named = [os.path.normpath(entry) for entry in named]
    kept = [entry for entry in path if entry and (entry != here or here in named)]
    found = next((entry for entry in kept if os.path.isfile(os.path.join(entry, "launcher", "__init__.py"))), None)
    if found is not None and not os.path.samefile(found, ABOVE):
        kept.insert(0, ABOVE)
    return [*kept, *(entry for entry in dict.fromkeys((ABOVE, here)) if entry and entry not in kept)]


def current_folder() -> str:
    """Empty where it has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _start_safely() -> None:
    """Keep multiprocessing from starting its own processes in the old way, before there was `-P`."""
    from multiprocessing import util

    util.spawnv_passfds = without_current_folder(util.spawnv_passfds)


def without_current_folder(start: Callable[..., Any]) -> Callable[..., Any]:
    """`start`, with the code that follows `-c` made to take the current folder off its path first."""

    def start_safely(program: Any, arguments: Sequence[Any], *more: Any) -> Any:
        changed = list(arguments)
        if "-c" in changed[:-1]:
            place = changed.index("-c") + 1
            changed[place] = f"import sys; sys.path[:] = filter(None, sys.path); {changed[place]}"
        return start(program, changed, *more)

    return start_safely
