"""What is wrong with the settings of a sweep by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.config.asked import evaluated_on
from launcher.config.metrics import metric_problem
from launcher.config.places import problem_with_name, shortened
from launcher.config.request import RunRequest

ON_FAILURE = ("continue", "stop")
_BEST = re.compile(r"best:([1-9]\d*)")


def num_kept(keep: str) -> int | None:
    """Of `best:3` the 3; None where all are kept, or where it says neither."""
    found = _BEST.fullmatch(keep)
    return int(found[1]) if found else None


def problems_with_sweep(request: RunRequest) -> Iterator[str]:
    """Words that mean nothing, and a metric that no job will have."""
    asked = request.sweep
    if asked.on_failure not in ON_FAILURE:
        yield f"sweep.on_failure={shortened(asked.on_failure)}: must be continue or stop."
    if asked.keep and num_kept(asked.keep) is None:
        yield f"sweep.keep={shortened(asked.keep)}: must be best:N with N >= 1, such as best:3, or empty to keep all."
    if problem := problem_with_name(asked.name):
        yield f"sweep.name={shortened(asked.name)}: {problem}."
    elif "/" in asked.name or asked.name in (".", ".."):
        yield f"sweep.name={shortened(asked.name)}: must be one name without slashes; folders above it are run.root's."
    yield from _problems_with_metric(request)


def _problems_with_metric(request: RunRequest) -> Iterator[str]:
    metric, keep = request.sweep.metric, request.sweep.keep
    if not evaluated_on(request.dataset, request.keys):
        needing = [f"sweep.metric={metric}"] if metric else []
        needing += [f"sweep.keep={keep}"] if num_kept(keep) is not None else []
        for setting in needing:
            yield (
                f"{setting}, but there is nothing to evaluate on. Name it with DATASETS.TEST=[NAME], "
                "or with dataset.val of a coco_json data set."
            )
    elif metric and (problem := metric_problem("sweep.metric", metric, request)):
        yield problem
