"""Predicts on image files, as a plan says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import Metadata
from detectron2.utils import comm

from launcher.errors import RequestError
from launcher.run import codes
from launcher.run.fence import Fence, check_fence, take_fence
from launcher.run.heartbeat import PREDICTION, Heartbeat
from launcher.run.journal import Journal, entries_in, keys_in, stamp_of
from launcher.run.outcome import Work, WorkerResult
from launcher.run.plan import Predict, RunPlan
from launcher.train.prediction.batches import BatchPredictor, on_cpu
from launcher.train.prediction.classes import find_classes
from launcher.train.prediction.drawing import draw, drawings_of, save
from launcher.train.prediction.images import LoadedImage, load_images
from launcher.train.prediction.inputs import inputs_for
from launcher.train.prediction.results import as_coco, image_ids, scores_in, write_results
from launcher.train.prediction.rows import Rows
from launcher.train.stop import STOP
from launcher.train.tasks.prepare import load_model, prepare

SHOWN = 5


def perform(plan: RunPlan, rank: int, heartbeat: Heartbeat) -> WorkerResult:
    """Predict on what is left, to the end or until asked to stop, and write the results of all that is done."""
    assert isinstance(plan.task, Predict)
    trainer_class, cfg = prepare(plan, heartbeat)
    fence = take_fence(plan.paths, plan.attempt) if rank == 0 else None
    ids = image_ids(plan.task.files, plan.task.images_json)
    known = keys_in(plan.paths.results)
    comm.synchronize()  # before anybody adds to them
    model = load_model(trainer_class, cfg, heartbeat, averaged=plan.task.model.averaged)
    predictor = BatchPredictor(model, inputs_for(trainer_class, cfg), precision=plan.devices.precision)
    todo = _left(plan.task.files, known)
    with (
        Journal(plan.paths.results, attempt=plan.attempt, rank=rank) as journal,
        Rows(len(todo), rank=rank, num_processes=plan.devices.num_processes) as rows,
    ):
        drawings = drawings_of(plan.task.files, plan.paths.folder)
        metadata = _classes(plan.task, cfg)
        work = _Work(plan=plan, task=plan.task, metadata=metadata, drawings=drawings, journal=journal, rows=rows)
        work.do(predictor, todo, rank, heartbeat)
    heartbeat.beat("writing results")
    unreadable = {file: why for part in comm.all_gather(work.unreadable) for file, why in part.items()}
    summary = _write(plan, plan.task, ids, fence) if fence is not None else {}
    return _result(plan.task, summary, unreadable, stopped=any(comm.all_gather(work.stopped)))


def _classes(task: Predict, cfg: CfgNode) -> Metadata:
    return find_classes(task.model.classes, cfg, task.model.annotations)


def _left(files: Sequence[str], known: frozenset[str]) -> list[str]:
    return [file for file in files if _stamp(file) not in known]


def _stamp(file: str) -> str:
    try:
        return stamp_of(Path(file))
    except OSError:  # reading it says what is wrong
        return ""


@dataclass(kw_only=True)
class _Work:
    """The images of one rank, as they are done."""

    plan: RunPlan
    task: Predict
    metadata: Metadata
    drawings: Mapping[str, Path]
    journal: Journal
    rows: Rows
    stopped: bool = False
    unreadable: dict[str, str] = field(default_factory=dict)
    """By file, why."""

    def do(self, predictor: BatchPredictor, files: Sequence[str], rank: int, heartbeat: Heartbeat) -> None:
        """Predict on this rank's part of the files, until a stop is asked."""
        ranks = self.plan.devices.num_processes
        own, workers = files[rank::ranks], self.plan.keys["DATALOADER.NUM_WORKERS"]
        heartbeat.beat(PREDICTION, len(self.task.files) - len(files))
        batch, to_draw = self.task.model.batch, self.task.draw
        for images in load_images(own, predictor.inputs, batch=batch, num_workers=workers, to_draw=to_draw):
            self._do_batch(predictor, images)
            heartbeat.beat(PREDICTION)
            # Each rank by itself: nobody waits for another before all is done.
            self.stopped = STOP.agreed(1)
            if self.stopped:
                break

    def _do_batch(self, predictor: BatchPredictor, images: Sequence[LoadedImage]) -> None:
        began = time.monotonic()
        if refusal := next((image.refusal for image in images if image.refusal), ""):
            raise RequestError(refusal)
        usable = [image for image in images if image.input is not None]
        predicted = predictor.predict([image.input for image in usable if image.input]) if usable else []
        results = [on_cpu(one) for one in predicted]
        seconds = (time.monotonic() - began) / max(1, len(usable))
        by_file = {image.file: one for image, one in zip(usable, results, strict=True)}
        for image in images:
            if image.file in by_file:
                self._keep(image, by_file[image.file], seconds)
            else:
                self.unreadable[image.file] = image.problem
                self.rows.add(Path(image.file).name, f"cannot be read: {image.problem}")

    def _keep(self, image: LoadedImage, predicted: Mapping[str, Any], seconds: float) -> None:
        """The drawing first: an image counts as done once all of it is."""
        if self.task.draw and image.pixels is not None:
            drawn = draw(image.pixels, predicted, self.metadata, self.task.threshold)
            save(drawn, self.drawings[image.file])
        found = as_coco(predicted, self.metadata)
        self.journal.add(_stamp(image.file), {"file": image.file, "seconds": seconds, "found": found})
        self.rows.add(Path(image.file).name, f"{_objects(found, self.task.threshold)}   {seconds:.2f} s")


def _objects(found: Mapping[str, Any], threshold: float) -> str:
    if "instances" not in found:
        return f"{len(found.get('segments', ()))} segments"
    number = sum(score >= threshold for score in scores_in(found))
    return "1 object" if number == 1 else f"{number} objects"


def _write(plan: RunPlan, task: Predict, ids: Any, fence: Fence) -> dict[str, Any]:
    """Write the results of all images that are done and say how much that is."""
    check_fence(plan.paths, fence)
    stamps = {_stamp(file) for file in task.files}
    # The newest of each; entries of images that have changed or are no longer asked for stay in the journal.
    entries = {value["file"]: value["found"] for key, value in entries_in(plan.paths.results) if key in stamps}
    write_results(_in_order(entries, task.files), ids, plan.paths.folder)
    scores = [score for found in entries.values() for score in scores_in(found)]
    return {
        "predict/images": len(entries),
        "predict/objects": sum(score >= task.threshold for score in scores),
        "predict/best_score": max(scores, default=None),
        "predict/without_id": len(ids.unknown),
    }


def _in_order(entries: Mapping[str, Any], files: Sequence[str]) -> Iterator[tuple[str, Any]]:
    return ((file, entries[file]) for file in files if file in entries)


def _result(task: Predict, summary: Mapping[str, Any], unreadable: Mapping[str, str], *, stopped: bool) -> WorkerResult:
    work = Work(
        iterations=summary.get("predict/images"),
        metrics=summary,
        stopped_early=None,
        bad_images=0,
        bad_test_images=len(unreadable),
    )
    return WorkerResult(
        finished=not stopped,
        stopped_by=STOP.stopped_by(),
        work=work,
        code=codes.UNREADABLE_IMAGES if unreadable else codes.NONE,
        explanation=_explain(unreadable, len(task.files)),
    )


def _explain(unreadable: Mapping[str, str], total: int) -> str:
    if not unreadable:
        return ""
    named = [f"{Path(file).name} ({why})" for file, why in list(unreadable.items())[:SHOWN]]
    more = f" and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
    return f"{len(unreadable)} of {total} images cannot be read: {', '.join(named)}{more}"
