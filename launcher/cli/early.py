"""What imports torch while the command line is still being composed, which takes about a second."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

from launcher.cli.resumable import resumable_until_trained
from launcher.cli.streams import everything_to_stderr
from launcher.forking import num_cpus
from launcher.run.handover import FIRST, Worker, with_short_waits

STILL_NEEDED = (
    *("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"),
    *("--json", "--out", "--threshold", "--no-images", "--images-json"),
)
"""Options with which one is needed; with others something is only shown, or there are several trainings."""
ROOT = "dataset.root="
CPU_ONLY = {"device=cpu", "MODEL.DEVICE=cpu"}


@contextmanager
def started_ahead(arguments: Sequence[str], environ: Mapping[str, str]) -> Iterator[None]:
    """A worker for what this command line trains or evaluates, if it does, and what tries the GPUs.

    Their environment is a guess. Where composing says otherwise they are not taken, and nothing but time is lost.
    """
    with ExitStack() as stack:
        # On a single core they would keep mistakes from being shown soon, and gain nothing.
        if num_cpus() > 1 and needs_worker(arguments):
            # A stop would leave files of theirs behind.
            stack.enter_context(resumable_until_trained())
            stack.enter_context(FIRST.started(partial(_first_worker, arguments, environ)))
            if not CPU_ONLY & set(arguments):
                # The worker imports while this does.
                from launcher.device.look.probe import torch_ahead

                stack.enter_context(torch_ahead(environ))
        yield


def _first_worker(arguments: Sequence[str], environ: Mapping[str, str]) -> Worker:
    # A worker prints where it could when it was started.
    with everything_to_stderr() if "--json" in arguments else nullcontext():
        return Worker(importing_environment(arguments, environ), None)


def importing_environment(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker reads when it imports torch and detectron2, if no file says otherwise."""
    typed = [word[len(ROOT) :] for word in arguments if word.startswith(ROOT)]
    root = typed[-1] if typed else environ.get("DETECTRON2_DATASETS") or "datasets"
    return with_short_waits({**environ, "DETECTRON2_DATASETS": os.path.abspath(os.path.expanduser(root))})


def needs_worker(arguments: Sequence[str]) -> bool:
    """Whether a worker is started in the end, unless something is wrong."""
    options = (word.partition("=")[0] for word in arguments if word.startswith("-"))
    return bool(arguments) and all(option in STILL_NEEDED for option in options)
