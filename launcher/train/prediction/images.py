"""Image files as inputs of a model, read ahead by loader processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2.data.detection_utils import read_image
from PIL import UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset

from launcher.errors import RequestError
from launcher.train.prediction.inputs import Inputs
from launcher.train.samples.blame import is_about_the_image, reason_of
from launcher.train.samples.loader import undisturbed

WORTH_A_PROCESS = 16
"""Images from which on starting loader processes costs less than it gains."""


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """One file: its input for the model, or why there is none."""

    file: str
    input: dict[str, Any] | None
    pixels: np.ndarray | None
    """uint8 of shape (height, width, 3) in BGR, where they are to be drawn on."""
    problem: str = ""
    refusal: str = ""
    """Why no image can be made an input. An exception would lose its kind on its way out of a loader process."""


def load_images(
    files: Sequence[str], inputs: Inputs, *, batch: int, num_workers: int, to_draw: bool
) -> Iterator[Sequence[LoadedImage]]:
    """All files in their order, `batch` at a time, with their pixels where those are drawn on."""
    workers = min(num_workers, len(files)) if len(files) >= WORTH_A_PROCESS else 0
    loader = DataLoader(
        _Files(files, inputs, to_draw=to_draw),
        batch_size=batch,
        num_workers=workers,
        collate_fn=_as_it_is,
        # Ranks are spawned, and their loaders would be too: each would import torch.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )
    return iter(undisturbed(loader))


def _as_it_is(images: list[LoadedImage]) -> list[LoadedImage]:
    return images


class _Files(Dataset):
    def __init__(self, files: Sequence[str], inputs: Inputs, *, to_draw: bool) -> None:
        self._files = files
        self._inputs = inputs
        self._to_draw = to_draw

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> LoadedImage:
        file = self._files[index]
        try:
            pixels = read_image(file, format="BGR")
            return LoadedImage(file=file, input=self._inputs(pixels, file), pixels=pixels if self._to_draw else None)
        except RequestError as error:
            return LoadedImage(file=file, input=None, pixels=None, refusal=str(error))
        except Exception as error:  # what unreadable bytes raise in image libraries has no common ground
            if not is_about_the_image(error):
                raise
            problem = "it is no image" if isinstance(error, UnidentifiedImageError) else reason_of(error)
            return LoadedImage(file=file, input=None, pixels=None, problem=problem)
