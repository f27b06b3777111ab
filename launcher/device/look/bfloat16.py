"""Has a child process measure what bfloat16 does to a model's layers on this CPU, and keeps the answer."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from launcher.config.described import cache_folders, digest, read_fresh, stamps, store
from launcher.config.keys import Keys
from launcher.config.request import OwnCode
from launcher.config.values import from_plain, to_plain
from launcher.device.bfloat16 import Bfloat16Facts
from launcher.device.facts import ChildEnd
from launcher.device.look.children import Child, ChildAnswer
from launcher.safe_start import python_command

PROGRAM = tuple(python_command("launcher.train.bfloat16", "-W", "ignore"))
DEADLINE_S = 240.0
"""It takes ten seconds of a CPU that nobody else uses."""
NO_MATTER = ("MODEL.WEIGHTS", "MODEL.DEVICE")
TUNING = ("ATEN_", "DNNL_", "MKL_", "ONEDNN_")
"""Variables that say what of the processor torch's libraries use."""
_FORMAT = 1


def look_at_bfloat16(
    keys: Keys,
    own_code: OwnCode,
    *,
    deformable_by: str = "",
    environ: Mapping[str, str],
    announce: Callable[[str], None] = lambda _: None,
    program: tuple[str, ...] = PROGRAM,
    deadline_s: float = DEADLINE_S,
) -> Bfloat16Facts:
    """Build the model in a child with the worker's environment `environ`, and measure.

    `deformable_by` is the plan's. What was measured is kept until another torch or detectron2 is installed. A model of
    the user's own code is measured every time: nobody knows what it follows from.
    """
    file_name = f"bfloat16-{digest(_question(keys, environ))}.json"
    own = bool(own_code.imports or own_code.trainer or own_code.config_extensions)
    for folder in () if own else cache_folders(environ):
        if (kept := read_fresh(folder / file_name)) is not None:
            return from_plain(Bfloat16Facts, kept["facts"])
    announce("Measuring whether bfloat16 makes this model faster on this CPU; once, for about 10 s.")
    ask = {"keys": _on_cpu(keys), "own_code": to_plain(own_code), "deformable_by": deformable_by}
    with Child(program, environ=environ, ask=ask, deadline_s=deadline_s) as child:
        facts = facts_in(child.answer())
    if not (own or facts.problem):
        store({"facts": to_plain(facts), "made_from": stamps(_packages())}, file_name, environ)
    return facts


def facts_in(answer: ChildAnswer) -> Bfloat16Facts:
    """What the child said, however it ended."""
    if answer.end.how != "answered":
        return Bfloat16Facts(layers=(), problem=_why_unanswered(answer.end))
    return from_plain(Bfloat16Facts, {"layers": (), "problem": "", **answer.said})


def _why_unanswered(end: ChildEnd) -> str:
    how = {"hung": "took too long", "signal": f"was killed by signal {end.number}"}.get(end.how, "failed")
    last_line = end.stderr.splitlines()[-1] if end.stderr else ""
    return f"the process that tried it {how} in stage `{end.stage}`{f' ({last_line})' if last_line else ''}"


def _on_cpu(keys: Keys) -> dict[str, Any]:
    """Those keys for a model of no weights on the CPU."""
    changed = {"MODEL.WEIGHTS": "", "MODEL.DEVICE": "cpu"}
    return Keys.of_leaves({**dict(keys.leaves()), **changed}.items()).nested()


def _question(keys: Keys, environ: Mapping[str, str]) -> list[Any]:
    model = [leaf for leaf in keys.leaves() if leaf[0].startswith(("MODEL.", "INPUT.")) and leaf[0] not in NO_MATTER]
    tuning = sorted((name, value) for name, value in environ.items() if name.startswith(TUNING))
    return [_FORMAT, _processor(), tuning, json.dumps(model, default=str), os.path.realpath(_packages()[0])]


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Its name and abilities, as Linux lists them for the first CPU."""
    try:
        first = cpuinfo.read_text(errors="replace").split("\n\n", 1)[0]
    except OSError:
        return []
    return sorted(line for line in first.splitlines() if line.startswith(("model name", "flags", "Features", "CPU")))


def _packages() -> list[str]:
    """Files that another version of a package would have changed; nothing is imported."""
    specs = (importlib.util.find_spec(name) for name in ("torch", "detectron2"))
    return [spec.origin for spec in specs if spec is not None and spec.origin is not None]
