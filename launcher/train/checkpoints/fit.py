"""How much of a weights file fits a model, and what to do where little does."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import RequestError

logger = logging.getLogger(__name__)

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Of batch normalisation; older files are without them, and not the worse for it."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Tensors of a file and of a model by name, statistics of batch normalisation left out."""

    file: str
    fitting: frozenset[str]
    """In both, and of the same shape."""
    only_in_file: frozenset[str]
    only_in_model: frozenset[str]
    misshapen: frozenset[str]
    """In both, but of another shape."""

    @property
    def in_file(self) -> int:
        return len(self.fitting) + len(self.only_in_file) + len(self.misshapen)

    @property
    def in_model(self) -> int:
        return len(self.fitting) + len(self.only_in_model) + len(self.misshapen)

    @property
    def is_poor(self) -> bool:
        """Less than half of the file, or of the model, fits."""
        return 2 * len(self.fitting) < max(self.in_file, self.in_model)

    def __str__(self) -> str:
        return f"{len(self.fitting)} of {self.in_file} tensors of {self.file} fit, of {self.in_model} of the model's"


def fit_of(
    file: str, model: Iterable[str], *, missing: Iterable[str], unexpected: Iterable[str], misshapen: Iterable[str]
) -> Fit:
    """From what is left over where a file was loaded as far as it fits."""
    in_model, wrong = _without_statistics(model), _without_statistics(misshapen)
    lacking = (_without_statistics(missing) - wrong) & in_model
    return Fit(
        file=file,
        fitting=in_model - lacking - wrong,
        only_in_file=_without_statistics(unexpected),
        only_in_model=lacking,
        misshapen=wrong,
    )


def _without_statistics(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if not name.endswith(STATISTICS))


def check_fit(fit: Fit) -> None:
    """Refuse a file of which nothing fits.

    Raises:
        RequestError: nothing fits: the training would begin with random weights.
    """
    if not fit.fitting:
        raise RequestError(f"{_nothing_fits(fit)}\n{advice(fit)}")


def report_fit(fit: Fit) -> None:
    """Say how much fits; loudly where that is little."""
    if fit.is_poor:
        logger.warning("ONLY %s; all else begins with random values. %s", fit, advice(fit))
    else:
        logger.info("weights: %s", fit)


def _nothing_fits(fit: Fit) -> str:
    theirs = sorted(fit.only_in_file or fit.misshapen)[:1]
    ours = sorted(fit.only_in_model or fit.misshapen)[:1]
    example = f" It has, for example, {theirs[0]}; the model has {ours[0]}." if theirs and ours else ""
    return (
        f"MODEL.WEIGHTS={fit.file}, but nothing in it fits the model: 0 of {fit.in_file} tensors of the file, "
        f"0 of {fit.in_model} of the model's.{example}"
    )


def advice(fit: Fit) -> str:
    """What to do about the tensors that do not fit."""
    if prefix := prefix_before(fit.only_in_file, fit.only_in_model):
        return (
            f"Names in the file begin with {prefix} where the model's do not. "
            f"Save those without it, and name that file{without_prefix(fit.file, prefix)}"
        )
    if prefix := prefix_before(fit.only_in_model, fit.only_in_file):
        return (
            f"Names in the model begin with {prefix} where the file's do not. "
            f"To have them matched by their ends: 'MODEL.WEIGHTS=\"{fit.file}?matching_heuristics=True\"'."
        )
    return (
        "Name weights of this model (compare the configuration that they were trained with), "
        'or begin with random ones: MODEL.WEIGHTS=\\"\\".'
    )


def prefix_before(names: Collection[str], others: Collection[str]) -> str:
    """What most of the names have in front of those of the others, such as `module.`; empty for nothing."""
    wanted = frozenset(others)
    found = Counter(prefix for name in names for prefix, rest in _parted(name) if rest in wanted)
    return found.most_common(1)[0][0] if found else ""


def _parted(name: str) -> Iterator[tuple[str, str]]:
    for index, letter in enumerate(name):
        if letter == ".":
            yield name[: index + 1], name[index + 1 :]


def without_prefix(file: str, prefix: str) -> str:
    """How to save the tensors whose names have a prefix, without it."""
    return _command(file, f"{{k[{len(prefix)}:]: v for k, v in f.items() if k.startswith({prefix!r})}}")


def part_alone(file: str, part: str) -> str:
    """How to save what a file has under that key alone."""
    return _command(file, f"f[{part!r}]")


def _command(file: str, weights: str) -> str:
    if file.endswith(".pkl"):  # a command that reads it would run what it says
        return "."
    target = str(Path(file).with_suffix("")) + "-weights.pth"
    return ":\n  python -c " + shlex.quote(
        f"import torch; f = torch.load({file!r}, map_location='cpu', weights_only=True); f = f.get('model', f); "
        f"torch.save({{'model': {weights}}}, {target!r})"
    )
