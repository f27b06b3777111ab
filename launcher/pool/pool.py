"""Jobs on this machine's devices, taken one at a time. INTERFACE ONLY for now: bodies follow."""

from __future__ import annotations

from types import TracebackType

from launcher.pool.ledger import Ended, Job, Place


class Pool:
    """Use it in a `with` block; `PoolLauncher.open()` makes one after `setup`.

    SIGINT and SIGTERM go to all jobs meanwhile, each as the job understands it; `stopping` says so. At the end of the
    block, when the jobs have ended, the signal is sent once more to whoever handled it before.
    """

    stopping: bool
    """A signal asked for the end: start nothing more, and wait for what runs."""
    size: int
    """How many jobs can run at once if nobody else takes a device."""

    @property
    def free(self) -> int:
        """How many jobs could start now; 0 when stopping."""
        raise NotImplementedError

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the jobs that run."""
        raise NotImplementedError

    def start(self, job: Job) -> Place | None:
        """Start it on devices that are free; None where there are none, as when somebody just took the last."""
        raise NotImplementedError

    def wait(self, timeout_s: float) -> list[Ended]:
        """The jobs that ended since; returns when the first one does, after the timeout, or when a signal came."""
        raise NotImplementedError

    def stop(self, number: int) -> None:
        """Send it SIGTERM; it ends in its own time, and `wait` reports it."""
        raise NotImplementedError

    def __enter__(self) -> Pool:
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop what still runs, and wait for it."""
        raise NotImplementedError
