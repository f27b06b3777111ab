"""A sweep as it is watched while it runs: a live table on a terminal, lines otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from launcher.cluster.slurm_queue import SlurmQueue
from launcher.pool.ledger import Decision, Known, Wait
from launcher.show.runs import period_text
from launcher.sweep.standing import standing_of
from launcher.sweep.text import end_text, lines_of, state_text, title_of, value_text
from launcher.sweep.values import WAITS, Job, JobState, Standing, Sweep

LINES_EVERY_S = 60.0
"""Between two lines about the jobs that run, where no table can be renewed."""
MOST_ROWS = 20


class Watcher:
    """What a person sees of a sweep that runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._sweep: Sweep | None = None
        self._running: dict[str, Job] = {}
        self._seen: dict[str, Standing] = {}
        """Where each job stood when it was last looked at; those that do not run change only as they end."""
        self._lines_at = 0.0
        self._queue: SlurmQueue | None = None
        self._waited_for: set[str] = set()
        self._expected = 0

    def expects(self, total: int) -> None:
        """How many jobs the sweep will have, where it adds them one after the other."""
        self._expected = total

    def knows(self, sweep: Sweep) -> None:
        """Which jobs there are now; nothing is shown before something happens."""
        self._sweep = sweep

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, highlight=False, markup=False)

    def admitted(self, jobs: Sequence[Job], decisions: Sequence[Decision]) -> None:
        """Say what need not run."""
        known = sum(isinstance(one, Known) for one in decisions)
        if known and len(jobs) > 1:
            self.say(f"{known} of {len(jobs)} jobs have come to their end before")
        for job, decision in zip(jobs, decisions, strict=True):
            if isinstance(decision, Wait) and job.folder not in self._waited_for:
                self._waited_for.add(job.folder)
                self._running[job.folder] = job
                self.say(f"{self._number(job)}  {decision.why}")

    def started(self, job: Job, place: str) -> None:
        """On a `place`; where that is empty the job waits for one, and its launcher has said so."""
        self._running[job.folder] = job
        if place:
            self.say(f"{self._number(job)}  started on {place}")

    def look(self, sweep: Sweep, now: float, queue: SlurmQueue | None = None) -> None:
        """Show where the jobs stand now."""
        self._sweep, self._queue = sweep, queue
        if self._console.is_terminal:
            self._renew(sweep, now)
        elif now - self._lines_at >= LINES_EVERY_S:
            first, self._lines_at = self._lines_at == 0.0, now
            running = [standing_of(sweep, job, now, queue) for job in self._running.values()]
            for line in [] if first else lines_of(running):
                self.say(line)

    def ended(self, standing: Standing) -> None:
        self._running.pop(standing.job.folder, None)
        self._seen[standing.job.folder] = standing
        self.say(f"{self._number(standing.job)}  {end_text(standing)}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _renew(self, sweep: Sweep, now: float) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(live_table(self._standings(sweep, now), self._total), refresh=True)

    def _standings(self, sweep: Sweep, now: float) -> list[Standing]:
        running = [one.job for one in self._seen.values() if one.state is JobState.running]
        for job in {job.folder: job for job in (*self._running.values(), *running)}.values():
            self._seen[job.folder] = standing_of(sweep, job, now, self._queue)
        new = [job for job in sweep.jobs if job.folder not in self._seen]
        self._seen |= {job.folder: standing_of(sweep, job, now, self._queue) for job in new}
        return [self._seen[job.folder] for job in sweep.jobs]

    @property
    def _total(self) -> int:
        return max(self._expected, len(self._sweep.jobs) if self._sweep is not None else 0)

    def _number(self, job: Job) -> str:
        return f"job {job.number + 1}/{self._total}  {job.folder}"


def live_table(found: Sequence[Standing], total: int) -> Table:
    """The jobs that run first, then those that ended; as many as a screen can hold, of `total` that there will be."""
    table = Table(box=None, pad_edge=False, show_header=True, title=title_of(found, total), title_justify="left")
    for column in ("job", "", "state", "iteration", "metric", "left"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    rows = sorted(found, key=lambda one: (one.state is not JobState.running, one.state in WAITS))
    for one in rows[:MOST_ROWS]:
        table.add_row(*cells_of(one, total))
    return table


def cells_of(one: Standing, of: int) -> tuple[str, ...]:
    """A job in one row."""
    progress = f"{one.iterations}/{'?' if one.total is None else one.total}" if one.iterations or one.total else ""
    left = period_text(one.left_s) if one.left_s is not None else ""
    state = state_text(one.state, one.code)
    return f"{one.job.number + 1}/{of}", one.job.folder, state, progress, value_text(one), left
