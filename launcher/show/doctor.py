"""The doctor's diagnosis as a person reads it (rich) and as a program does (JSON). Shows, never decides."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from launcher.config.values import to_plain
from launcher.device.diagnosis import Diagnosis, Finding, Severity, gpu_label, in_order
from launcher.device.facts import DeviceFacts
from launcher.errors import printable

MAX_EVIDENCE, MAX_FURTHER_CAUSES = 4, 3
"""Lines of the doctor's screen for the evidence of the root cause, and for other causes."""
MARKS = {Severity.error: "[red]✗[/red]", Severity.warning: "[yellow]![/yellow]", Severity.info: "[blue]·[/blue]"}


def show_doctor(diagnosis: Diagnosis, facts: DeviceFacts, console: Console, verbose: bool = False) -> None:
    """The verdict, a line per GPU, the root cause with evidence and fix, the rest in a line each: at most a screen.

    `verbose` shows every finding as the root cause is shown, in full.
    """
    console.print(f"[bold]{escape(diagnosis.verdict)}[/bold]", highlight=False)
    if diagnosis.usable_gpus or diagnosis.excluded_gpus:
        console.print(_gpu_table(diagnosis, short=not verbose))
    shown = diagnosis.findings if verbose else _select_findings(diagnosis)[: 1 + MAX_FURTHER_CAUSES]
    for position, finding in enumerate(shown):
        if verbose or position == 0:
            _show_finding(finding, console, short=not verbose)
        else:
            console.print(_headline(finding), highlight=False)
    if hint := _what_is_left_out(diagnosis, shown):
        console.print(f"[dim]{hint}[/dim]", highlight=False)
    console.print(f"[dim]{escape(_installed(facts))}[/dim]", highlight=False)


def _select_findings(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    """What a person must know: the reason of the verdict, and what no line of a GPU says already."""
    in_table = {gpu.code for gpu in diagnosis.excluded_gpus}
    reasons = (*diagnosis.fatal, diagnosis.blocking)
    worth = [f for f in diagnosis.findings if f.severity is not Severity.info or f in reasons]
    return (*worth[:1], *(finding for finding in worth[1:] if finding.code not in in_table))


def _what_is_left_out(diagnosis: Diagnosis, shown: Sequence[Finding]) -> str:
    left_out = [finding for finding in diagnosis.findings if finding not in shown]
    notes = sum(finding.severity is Severity.info for finding in left_out)
    counted = [
        f"{number} {what}{'' if number == 1 else 's'}"
        for number, what in ((len(left_out) - notes, "more cause"), (notes, "note"))
        if number
    ]
    return "; ".join([
        *([f"{' and '.join(counted)}: launcher doctor --verbose"] if counted else []),
        *([f"launcher explain {shown[0].code} has more"] if shown else []),
    ])  # fmt: skip


def doctor_json(diagnosis: Diagnosis, facts: DeviceFacts) -> str:
    """Verdict, findings and facts; from the facts alone the same diagnosis can be made again, anywhere."""
    return json.dumps(
        {
            "verdict": diagnosis.verdict,
            "findings": to_plain(diagnosis.findings),
            "usable_gpus": to_plain(diagnosis.usable_gpus),
            "excluded_gpus": to_plain(diagnosis.excluded_gpus),
            "facts": to_plain(facts),
        },
        indent=2,
    )


def _gpu_table(diagnosis: Diagnosis, *, short: bool) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True)
    # Where the screen is too narrow, rich takes the space from columns that may wrap: from this one alone.
    table.add_column(overflow="fold")
    rows = [
        (
            in_order(gpu.index),
            gpu_label(gpu.index, gpu.uuid),
            "[green]✓[/green]",
            gpu.name,
            f"{gpu.free_mib} of {gpu.memory_mib} MiB free",
        )
        for gpu in diagnosis.usable_gpus
    ]
    excluded = [
        (in_order(gpu.index), gpu_label(gpu.index, gpu.uuid), "[red]✗[/red]", gpu.name, gpu.cause)
        for gpu in diagnosis.excluded_gpus
    ]
    for _, label, mark, name, text in sorted([*rows, *excluded]):
        last = Text(printable(text), no_wrap=short, overflow="ellipsis" if short else "fold")
        table.add_row(mark, label, escape(printable(name)), last)
    return table


def _show_finding(finding: Finding, console: Console, *, short: bool) -> None:
    console.print(_headline(finding), highlight=False)
    evidence = finding.evidence[:MAX_EVIDENCE] if short else finding.evidence
    for line in evidence:
        text = Text(line, style="dim", no_wrap=short, overflow="ellipsis" if short else "fold")
        console.print(Padding(text, (0, 0, 0, 4)), no_wrap=short, overflow="ellipsis" if short else "fold")
    console.print(Padding(Text(f"→ {finding.fix}"), (0, 0, 0, 4)))


def _headline(finding: Finding) -> str:
    return f"{MARKS[finding.severity]} {escape(finding.cause)}  [dim]{finding.code}[/dim]"


def _installed(facts: DeviceFacts) -> str:
    packages = facts.packages
    driver = (facts.nvml.driver if facts.nvml else "") or facts.system.driver_loaded
    return ", ".join((
        f"torch {packages.torch or 'missing'}",
        f"torchvision {packages.torchvision or 'missing'}",
        f"detectron2 {packages.detectron2 or 'missing'}",
        f"NVIDIA driver {driver or 'none'}",
        f"{facts.platform.num_cpus} CPUs",
    ))  # fmt: skip
