"""Checkpoints that are either complete or not there."""

from __future__ import annotations

import contextlib
import filecmp
import io
import os
import shutil
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs

import torch
from detectron2.checkpoint import DetectionCheckpointer
from fvcore.common.checkpoint import _filter_reused_missing_keys

from launcher.errors import RequestError
from launcher.files import beside, leftovers, remove, sync_file, sync_folder, write_text
from launcher.run.manifest import Manifest, Milestone, manifest_path, manifest_text
from launcher.run.paths import RunPaths
from launcher.train.checkpoints.fit import Fit, check_fit, fit_of, report_fit
from launcher.train.checkpoints.safe_load import load_weights
from launcher.train.checkpoints.snapshot import as_plain

_BUFFER = 1 << 20  # bytes


class SafeCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer, saving beside, synced and renamed, and loading without running code.

    The file format is detectron2's own, so its tools and `DefaultPredictor` read the files as they are.
    """

    must_fit = False
    """Whether parameters that are missing or of another shape are an error, as they are when a run is resumed."""

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        misfits = [name for name, _, _ in incompatible.incorrect_shapes] + list(incompatible.missing_keys)
        if self.must_fit and misfits:
            raise RequestError(
                f"The checkpoint holds another model: {', '.join(misfits[:4])} and {max(0, len(misfits) - 4)} more "
                "parameters are missing or of another shape. To start from what fits of its weights, name it with "
                "MODEL.WEIGHTS=PATH instead."
            )
        if self.must_fit:
            super()._log_incompatible_keys(incompatible)
            return
        fit = self._fit(incompatible)
        check_fit(fit)
        super()._log_incompatible_keys(incompatible)
        report_fit(fit)

    def _fit(self, incompatible: Any) -> Fit:
        url = self._parsed_url_during_load
        return fit_of(
            url._replace(query="").geturl() if url else "the file",
            self.model.state_dict(),
            missing=_filter_reused_missing_keys(self.model, incompatible.missing_keys),
            unexpected=incompatible.unexpected_keys,
            misshapen=[name for name, _, _ in incompatible.incorrect_shapes],
        )

    def _load_file(self, filename: str) -> dict[str, Any]:
        # Not detectron2's: it reads pickles with Python's own reader, which runs what they say.
        loaded = load_weights(Path(filename))
        query = self._parsed_url_during_load.query if self._parsed_url_during_load else ""
        if parse_qs(query).get("matching_heuristics") == ["True"]:
            loaded["matching_heuristics"] = True
        return loaded

    def state(self, **kwargs: Any) -> dict[str, Any]:
        """What a checkpoint holds: the model, the checkpointables and `kwargs`; tensors are those in use."""
        state = {"model": self.model.state_dict()}
        state.update({key: part.state_dict() for key, part in self.checkpointables.items()})
        return {**state, **kwargs}

    def save(self, name: str, **kwargs: Any) -> None:
        """Save the state as `<save_dir>/<name>.pth`.

        Raises:
            OSError: the file cannot be written; an existing file of that name stays as it was.
        """
        if self.save_to_disk:
            write_checkpoint(self.state(**kwargs), Path(self.save_dir, f"{name}.pth"))


def write_checkpoint(
    state: Mapping[str, Any],
    target: Path,
    milestone: Milestone | None = None,
    before_rename: Callable[[], None] = lambda: None,
) -> None:
    """Write as `write_weights` does, with `milestone` a manifest too, and name it as the last checkpoint.

    Raises:
        OSError: it cannot be written; an existing file of that name stays as it was.
    """
    write_weights(state, target, milestone, before_rename)
    # For detectron2's tools and never read by us, so nothing is lost without it.
    with contextlib.suppress(OSError):
        write_text(target.parent / "last_checkpoint", target.name)


def write_weights(
    state: Mapping[str, Any],
    target: Path,
    milestone: Milestone | None = None,
    before_rename: Callable[[], None] = lambda: None,
) -> None:
    """Write beside, sync, and only then give the file its name; with `milestone` a manifest beside it too.

    Raises:
        OSError: it cannot be written; an existing file of that name stays as it was.
    """
    with beside(target) as draft, beside(manifest_path(target)) as manifest_draft:
        began, plain = time.monotonic(), as_plain(state)
        # A file of Python's and not a path: with a path torch holds the interpreter's lock while it writes, and a
        # training beside it waits.
        size, crc32 = _write_new(draft, lambda file: torch.save(plain, file))
        if milestone is not None:
            text = manifest_text(
                Manifest(milestone=milestone, size=size, crc32=crc32, save_s=round(time.monotonic() - began, 3))
            )
            _write_new(manifest_draft, lambda file: file.write(text.encode()))
        before_rename()
        _publish(draft, target, manifest_draft if milestone is not None else None)


def _publish(draft: Path, target: Path, manifest_draft: Path | None) -> None:
    """Rename so that a manifest never stands beside a file that it does not describe, as far as a complete one goes.

    A manifest without its checkpoint does no harm, and a checkpoint without a manifest is judged by its own checksums.
    """
    manifest = manifest_path(target)
    if target.exists():
        remove(manifest)
        os.replace(draft, target)
        if manifest_draft is not None:
            os.replace(manifest_draft, manifest)
    else:
        if manifest_draft is not None:
            os.replace(manifest_draft, manifest)
        else:
            remove(manifest)
        os.replace(draft, target)
    sync_folder(target.parent)


def name_final(path: Path, paths: RunPaths) -> None:
    """Give the last checkpoint the name `model_final.pth` too, without a second copy where the file system can."""
    link_or_copy(path, paths.final_weights)


def link_or_copy(path: Path, target: Path) -> None:
    """Give a complete file a second name, replacing what had it.

    Raises:
        OSError: the folder cannot be written.
    """
    with beside(target) as draft:
        try:
            os.link(path, draft)
        except OSError:
            shutil.copyfile(path, draft)
            sync_file(draft)
        os.replace(draft, target)
        sync_folder(target.parent)


def has_same_content(path: Path, other: Path) -> bool:
    """Whether both are there and are one file or, where files can have one name only, copies."""
    if not path.exists() or not other.exists():
        return False
    return os.path.samefile(path, other) or filecmp.cmp(path, other, shallow=False)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed attempts have left half-written, and manifests whose checkpoint never came.

    Only for the attempt that holds the run's fence: an overtaken one may still be writing, and must not continue.
    """
    for path in leftovers(folder):
        remove(path)
    for path in folder.glob("model_*.json"):
        if not path.with_suffix(".pth").exists():
            remove(path)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and its manifest.

    Raises:
        OSError: it cannot be removed.
    """
    os.unlink(path)
    remove(manifest_path(path))


class _NewFile(io.RawIOBase):
    """Counts and sums up what passes through to the disk, so that nothing is read or held twice.

    A write that fails is kept in `failure` and the rest is swallowed: torch would make an error without a reason of it.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self.size = 0
        self.crc32 = 0
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        if self.failure is not None:
            return len(view)
        try:
            written = os.write(self.descriptor, view)
        except OSError as error:
            self.failure = error
            return len(view)
        self.crc32 = zlib.crc32(view[:written], self.crc32)
        self.size += written
        return written

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self.descriptor)


def _write_new(path: Path, fill: Callable[[BinaryIO], object]) -> tuple[int, int]:
    """Stream what `fill` writes into a new file and on to the disk; its size and checksum."""
    with _NewFile(path) as file:
        buffered = io.BufferedWriter(file, _BUFFER)
        try:
            fill(buffered)
            buffered.flush()
        finally:
            buffered.detach()
        if file.failure is not None:
            raise file.failure
        os.fsync(file.descriptor)
        return file.size, file.crc32
