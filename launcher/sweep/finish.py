"""What a sweep leaves behind when its controller ends: the table, the files, and only the checkpoints that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launcher.run.found import called
from launcher.sweep.hparams import write_hparams
from launcher.sweep.retention import apply_keep
from launcher.sweep.table import ending_lines, sweep_table, write_summary
from launcher.sweep.values import WAITS, Standing, Sweep


def finish(sweep: Sweep, found: Sequence[Standing], keep: str, say: Callable[[str], None]) -> None:
    """Show where the jobs stand, which was `found`, and write it down."""
    for line in apply_keep(sweep, keep, found):
        say(line)
    left = sum(bool(one.in_slurm) for one in found)
    has_begun = any(one.state not in WAITS for one in found)
    if has_begun:
        say(f"\n{sweep_table(sweep, found)}\n")
    try:
        write_summary(sweep, found)
        write_hparams(sweep, found)
    except OSError as error:
        say(f"warning: the summary of the sweep could not be written ({error.strerror})")
    for line in ending_lines(sweep, found, called(sweep.folder)) if has_begun else ():
        say(line)
    if left:
        say(f"{left} of {len(found)} jobs are left to Slurm. The same command follows them, and ends with the table.")
