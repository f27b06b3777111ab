"""Checkpoints that are either whole or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer

from launcher.config.values import write_text
from launcher.errors import RequestError
from launcher.run.paths import RunPaths


class WholeCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer, saving beside, synced and renamed.

    The file format is detectron2's own, so its tools and `DefaultPredictor` read the files as they are.
    """

    must_fit = False
    """Whether parameters that are missing or of another shape are an error, as they are when a run goes on."""

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        misfits = [name for name, _, _ in incompatible.incorrect_shapes] + list(incompatible.missing_keys)
        if self.must_fit and misfits:
            raise RequestError(
                f"The checkpoint holds another model: {', '.join(misfits[:4])} and {max(0, len(misfits) - 4)} more "
                "parameters are missing or of another shape. To start from what fits of its weights, name it with "
                "MODEL.WEIGHTS=PATH instead."
            )
        super()._log_incompatible_keys(incompatible)

    def save(self, name: str, **kwargs: Any) -> None:
        """Save the model, the checkpointables and `kwargs` as `<save_dir>/<name>.pth`.

        Raises:
            OSError: the file cannot be written; an existing file of that name stays as it was.
        """
        if not self.save_to_disk:
            return
        content = {"model": self.model.state_dict()}
        content.update({key: part.state_dict() for key, part in self.checkpointables.items()})
        content.update(kwargs)
        target = Path(self.save_dir, f"{name}.pth")
        beside = target.with_name(f".{target.name}.tmp")
        try:
            with open(beside, "wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        write_text(target.parent / "last_checkpoint", target.name)  # for detectron2's tools; never read by us


def save_iteration(checkpointer: WholeCheckpointer, paths: RunPaths, iteration: int) -> Path:
    """Save the state after `iteration` under detectron2's name for it."""
    path = paths.checkpoint(iteration)
    checkpointer.save(path.stem, iteration=iteration)
    return path


def name_final(path: Path, paths: RunPaths) -> None:
    """Give the last checkpoint the name `model_final.pth` too, without a second copy where the file system can."""
    beside = paths.final_weights.with_name(f".{paths.final_weights.name}.tmp")
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:
        shutil.copyfile(path, beside)
    os.replace(beside, paths.final_weights)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
