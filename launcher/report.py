"""Our values as a person reads them (rich) and as a program does (JSON). Shows, never decides."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from launcher.config.values import to_plain
from launcher.device.diagnosis import Diagnosis, Finding, Severity

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from launcher.device.facts import DeviceFacts

MARKS = {Severity.error: "[red]✗[/red]", Severity.warning: "[yellow]![/yellow]", Severity.info: "[blue]·[/blue]"}


def show_doctor(diagnosis: Diagnosis, facts: DeviceFacts, console: Console, verbose: bool = False) -> None:
    """At most a screen: the verdict, a line per GPU, then each root cause with its fix.

    `verbose` adds the evidence of every finding, not just of the first.
    """
    from rich.markup import escape

    console.print(f"[bold]{escape(diagnosis.verdict)}[/bold]", highlight=False)
    if diagnosis.usable_gpus or diagnosis.excluded_gpus:
        console.print(_gpu_table(diagnosis))
    for position, finding in enumerate(diagnosis.findings):
        console.print(*_finding_lines(finding, evidence=verbose or position == 0), sep="\n", highlight=False)
    console.print(f"[dim]{escape(_installed(facts))}[/dim]", highlight=False)


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


def _gpu_table(diagnosis: Diagnosis) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows = [
        (gpu.index, "[green]✓[/green]", gpu.name, f"{gpu.free_mib} of {gpu.memory_mib} MiB free")
        for gpu in diagnosis.usable_gpus
    ]
    excluded = [(gpu.index or 0, "[red]✗[/red]", gpu.name, gpu.cause) for gpu in diagnosis.excluded_gpus]
    for index, mark, name, text in sorted([*rows, *excluded]):
        table.add_row(mark, f"GPU {index}", escape(name), escape(text))
    return table


def _finding_lines(finding: Finding, *, evidence: bool) -> Iterable[str]:
    from rich.markup import escape

    yield f"{MARKS[finding.severity]} {escape(finding.cause)}  [dim]{finding.code}[/dim]"
    if evidence:
        yield from (f"    [dim]{escape(line)}[/dim]" for line in finding.evidence)
    yield f"    → {escape(finding.fix)}"


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
