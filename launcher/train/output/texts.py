"""What a run says of itself in TensorBoard: the command, the plan as a person reads it, the doctor's verdict."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable

from rich.console import Console

from launcher.config.values import read_json_if_valid
from launcher.device.causes.diagnose import diagnose
from launcher.device.facts import DeviceFacts
from launcher.device.policy.choice import by_default
from launcher.run.plan import RunPlan
from launcher.run.stored import read_request
from launcher.show.console import PrintableConsole
from launcher.show.doctor import show_doctor
from launcher.show.run import show_plan
from launcher.show.table import flowing

WIDTH = 100  # columns


def texts_of(plan: RunPlan) -> dict[str, str]:
    """Markdown by name, in the order in which TensorBoard shows them."""
    texts = {
        "1 command": _command(plan),
        "2 plan": _printed(lambda console: show_plan(plan, console, composition=True)),
    }
    facts = read_json_if_valid(plan.attempt_paths.facts, DeviceFacts)
    if facts is not None:
        diagnosis = by_default(diagnose(facts))
        texts["3 doctor"] = _printed(lambda console: show_doctor(diagnosis, facts, console))
    return {name: as_code(text) for name, text in texts.items()}


def as_code(text: str, language: str = "") -> str:
    """As Markdown that shows every character as it is."""
    fence = "```"
    while fence in text:
        fence += "`"
    lines = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
    return f"{fence}{language}\n{lines}\n{fence}"


def _command(plan: RunPlan) -> str:
    """In lines that a shell takes as one."""
    typed = str(read_request(plan.paths).get("command", ""))
    return " \\\n    ".join(flowing([shlex.quote(word) for word in shlex.split(typed)], WIDTH, gap=1))


def _printed(show: Callable[[Console], None]) -> str:
    text = io.StringIO()
    show(PrintableConsole(file=text, width=WIDTH, force_terminal=False, color_system=None))
    return text.getvalue()
