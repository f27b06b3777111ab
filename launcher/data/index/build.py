"""Makes the index of an annotation file, in one reading that also judges every entry."""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from launcher.data.coco_file import (
    AnnotationJudge,
    Header,
    Seen,
    file_facts,
    places_of,
    read_header,
    without_collection,
)
from launcher.data.index.columns import AnnotationColumns, Columns, ImageColumns, Index, pack_listed
from launcher.data.index.identity import ChangedError, Content, Stamp, read_content
from launcher.data.index.rows import (
    AnnotationRow,
    ImageRow,
    UnusableError,
    annotation_row,
    category_numbers,
    image_row,
)
from launcher.data.index.scan import NotIndexableError, Spans, decode_strictly, scan
from launcher.data.portion import Portion
from launcher.forking import num_cpus

_MOST_PROCESSES = 8
_FEWEST_PER_PROCESS = 20_000
"""Annotations; fewer are judged sooner than a process starts."""

_decoder = msgspec.json.Decoder()


def build_index(file: Path, *, portion: Portion | None = None, num_processes: int | None = None) -> Index:
    """Read a file once, judge every entry of it, or of that part, and note where each is.

    Raises:
        OSError: it cannot be read.
        NotIndexableError: only a JSON reader can say what it holds.
        ChangedError: it changed meanwhile.
    """
    before = read_content(file)
    with _opened(file, before) as content, without_collection():
        index = _index_of(content, before, portion, num_processes)
    # A write within the same tick of the file system's clock as the last one before would leave the times as they are.
    after = read_content(file) if not before.stamp.was_settled(before.taken_s) else before
    if after.digest != before.digest or Stamp.of(os.stat(file)) != before.stamp:
        raise ChangedError(f"{file} changed while it was read")
    return index


@contextlib.contextmanager
def _opened(file: Path, before: Content) -> Iterator[mmap.mmap]:
    with open(file, "rb") as opened:
        if Stamp.of(os.fstat(opened.fileno())) != before.stamp:
            raise ChangedError(f"{file} changed while it was read")
        if before.stamp.size == 0:
            raise NotIndexableError("the file is empty")
        # Not closed: views of it are let go by the garbage collector.
        yield mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _index_of(content: mmap.mmap, before: Content, portion: Portion | None, num_processes: int | None) -> Index:
    layout = scan(content)
    images = [decode_entry(raw) for raw in _entries(content, layout.images)]
    of_images = map(_image_of, _entries(content, layout.annotations))
    part = places_of(portion, images, of_images, len(layout.annotations))
    header = read_header(layout.categories, images, part.images)
    image_spans, spans = layout.images.at(part.images), layout.annotations.at(part.annotations)
    job = _Job.of(content, spans, part.annotations, header, layout.categories)
    seen, rows = _judge_all(job, num_processes)
    facts = file_facts(zlib.crc32(content), header, seen, _Decoded(content, layout.annotations))
    image_rows, unusable = _image_rows(images, part.images)
    unusable = job.unusable or unusable or rows.unusable or rows.repeated()
    index = Index(
        content=before.digest,
        content_size=before.stamp.size,
        facts=facts,
        columns=None,
        unusable=unusable,
        listed=pack_listed(header.listed),
    )
    return index if unusable else _with_columns(index, content, image_spans, image_rows, spans, rows)


class _ImageOnly(msgspec.Struct):
    image_id: Any = None


_image_decoder = msgspec.json.Decoder(_ImageOnly)


def _image_of(raw: bytes) -> Any:
    """The id of an annotation's image, without the time that it takes to decode the rest."""
    try:
        return _image_decoder.decode(raw).image_id
    except msgspec.MsgspecError:  # no object, or a number that only Python takes
        entry = decode_entry(raw)
        return entry.get("image_id") if isinstance(entry, dict) else None


def decode_entry(raw: bytes) -> Any:
    """As the standard library's `json` decodes it, and in a fifth of the time for most entries.

    Raises:
        NotIndexableError: an object has a key twice, with different values.
    """
    with contextlib.suppress(msgspec.ValidationError):  # a number that only Python takes, for infinity
        entry = _decoder.decode(raw)
        if type(entry) is dict and _has_each_key_once(entry, raw):
            return entry
    return decode_strictly(raw)


def _has_each_key_once(entry: Mapping[str, Any], raw: bytes) -> bool:
    """Certain where it says so: every key brings a colon, and all others are in texts."""
    mask = entry.get("segmentation")
    parts = (entry, mask) if type(mask) is dict else (entry,)
    others = raw.count(b":") - sum(map(len, parts))
    if others == 0:
        return True
    # A colon that is written as an escape would make up for one too many.
    return b"\\" not in raw and others == sum(map(_colons_in, parts))


def _colons_in(entry: Mapping[str, Any]) -> int:
    texts = (text for text in (*entry, *entry.values()) if type(text) is str)
    return sum(text.count(":") for text in texts)


def _entries(content: mmap.mmap, spans: Spans) -> Iterator[bytes]:
    for start, length in zip(spans.starts.tolist(), spans.lengths.tolist(), strict=True):
        yield content[start : start + length]


class _Decoded(Sequence[Any]):
    """The entries of a list, decoded when they are looked at."""

    def __init__(self, content: mmap.mmap, spans: Spans) -> None:
        self._content = content
        self._spans = spans

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, place: Any) -> Any:
        start = int(self._spans.starts[place])
        return decode_entry(self._content[start : start + int(self._spans.lengths[place])])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """What every process needs to judge its part of the annotations."""

    content: mmap.mmap
    spans: Spans
    places: Sequence[int]
    """Of the same annotations, in the list of the file."""
    header: Header
    numbers: Mapping[int, int]
    """Contiguous, by category id."""
    unusable: str
    """Why no rows are made, where the categories allow none."""

    @classmethod
    def of(
        cls, content: mmap.mmap, spans: Spans, places: Sequence[int], header: Header, categories: Sequence[Any]
    ) -> _Job:
        try:
            numbers, unusable = category_numbers(categories), ""
        except UnusableError as error:
            numbers, unusable = {}, str(error)
        return cls(content=content, spans=spans, places=places, header=header, numbers=numbers, unusable=unusable)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """What is kept of some annotations, in the order of the file."""

    rows: np.ndarray
    """One `AnnotationRow` each."""
    crc: np.ndarray
    unusable: str = ""
    """Why there are none."""

    @classmethod
    def of_parts(cls, parts: Sequence[_Rows]) -> _Rows:
        return cls(
            rows=np.concatenate([part.rows for part in parts]),
            crc=np.concatenate([part.crc for part in parts]),
            unusable=next((part.unusable for part in parts if part.unusable), ""),
        )

    def repeated(self) -> str:
        ids = self.rows[:, 0]
        return "two annotations have the same id" if len(np.unique(ids)) < len(ids) else ""


_ROW = len(AnnotationRow._fields)


def _judge_all(job: _Job, num_processes: int | None) -> tuple[Seen, _Rows]:
    """Every annotation, in several processes where that is faster."""
    most = num_processes or min(_MOST_PROCESSES, num_cpus(), 1 + len(job.spans) // _FEWEST_PER_PROCESS)
    if most == 1 or sys.platform != "linux":
        return _judge_part(job, 0, len(job.spans))
    bounds = np.linspace(0, len(job.spans), 4 * most + 1).astype(int).tolist()
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(most, context, initializer=_begin, initargs=(job,)) as pool:
        seen, rows = zip(*pool.map(_judge_mine, bounds[:-1], bounds[1:]), strict=True)
    return Seen.of_parts(seen), _Rows.of_parts(rows)


_mine: list[_Job] = []


def _begin(job: _Job) -> None:
    _mine[:] = [job]


def _judge_mine(begin: int, end: int) -> tuple[Seen, _Rows]:
    return _judge_part(_mine[0], begin, end)


def _judge_part(job: _Job, begin: int, end: int) -> tuple[Seen, _Rows]:
    judge, unusable = AnnotationJudge(job.header, len(job.spans)), job.unusable
    rows: list[AnnotationRow] = []
    checksums = []
    part = Spans(starts=job.spans.starts[begin:end], lengths=job.spans.lengths[begin:end])
    for place, raw in zip(job.places[begin:end], _entries(job.content, part), strict=True):
        entry = decode_entry(raw)
        judge.see(place, entry)
        if unusable:
            continue
        try:
            rows.append(annotation_row(place, entry, job.numbers, job.header.sizes))
        except UnusableError as error:
            unusable = str(error)
        checksums.append(zlib.crc32(raw))
    if unusable:
        rows, checksums = [], []
    table = np.array(rows, np.int64).reshape(-1, _ROW)
    return judge.found(), _Rows(rows=table, crc=np.array(checksums, np.uint32), unusable=unusable)


def _image_rows(images: Sequence[Any], places: Sequence[int]) -> tuple[list[ImageRow], str]:
    """What is kept of the images at those places, in the order of the file, or why it cannot be."""
    try:
        rows = [image_row(place, images[place]) for place in places]
    except UnusableError as error:
        return [], str(error)
    return rows, "two images have the same id" if len({row.image_id for row in rows}) < len(rows) else ""


def _with_columns(
    index: Index,
    content: mmap.mmap,
    image_spans: Spans,
    images: Sequence[ImageRow],
    spans: Spans,
    annotations: _Rows,
) -> Index:
    """Bring images into the order of their ids, and annotations into that of their images."""
    ids = np.array([row.image_id for row in images], np.int64)
    by_id = np.argsort(ids)
    of_image = np.searchsorted(ids[by_id], annotations.rows[:, 1])
    by_image = np.argsort(of_image, kind="stable")
    crc = np.fromiter(map(zlib.crc32, _entries(content, image_spans)), np.uint32, len(ids))
    of_images = ImageColumns(
        id=ids[by_id],
        start=image_spans.starts[by_id],
        length=image_spans.lengths[by_id],
        crc=crc[by_id],
        width=np.array([row.width for row in images])[by_id],
        height=np.array([row.height for row in images])[by_id],
        num_visible=np.bincount(of_image, annotations.rows[:, 4], len(ids)),
        end=np.cumsum(np.bincount(of_image, minlength=len(ids))),
    )
    of_annotations = AnnotationColumns(
        start=spans.starts[by_image],
        length=spans.lengths[by_image],
        crc=annotations.crc[by_image],
        category=annotations.rows[by_image, 2],
        flags=annotations.rows[by_image, 3],
    )
    columns = Columns(images=of_images, annotations=of_annotations)
    return replace(index, columns=columns)
