from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators
from detectron2.structures import Boxes, Instances
from torch import distributed

from launcher.config.request import EvaluationBackend, EvaluationSettings
from launcher.train.evaluation.blank_images import BLANK_FOR
from launcher.train.evaluation.coco import RESULTS_FILE, SturdyCOCOEvaluator
from launcher.train.evaluation.evaluate import Evaluation, Options, evaluate
from launcher.train.evaluation.unfinished import fingerprint_of, forget
from launcher.train.stop import Stop

NAME = "unfinished_by_a_test"
NUM_IMAGES = 48
NUM_KILLS = 20
SIDE = 64


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> Iterator[None]:
    images = [{"id": n, "file_name": f"{n}.png", "height": SIDE, "width": SIDE} for n in range(1, NUM_IMAGES + 1)]
    annotations = [
        {
            "id": 2 * n + k,
            "image_id": n,
            "category_id": 7 + k,
            "bbox": [5 + k, 5, 20, 20 + n],
            "area": 400 + 20 * n,
            "iscrowd": 0,
            "segmentation": [[5 + k, 5, 25 + k, 5, 25 + k, 25 + n, 5 + k, 25 + n]],
        }
        for n in range(1, NUM_IMAGES + 1)
        for k in range(2)
    ]
    categories = [{"id": 7, "name": "seven"}, {"id": 8, "name": "eight"}]
    coco = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "data.json").write_text(json.dumps(coco))
    register_coco_instances(NAME, {}, str(tmp_path / "data.json"), str(tmp_path))
    DatasetCatalog.get(NAME)
    yield
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


class Detector(torch.nn.Module):
    """Finds what follows from an image's number and its weight; where batches are padded also from their size."""

    def __init__(self, weight: float = 1.0, pause_s: float = 0.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))
        self.pause_s = pause_s
        self.seen: list[int] = []

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        time.sleep(self.pause_s)
        self.seen += [sample["image_id"] for sample in batch]
        return [{"instances": self._find(sample["image_id"], len(batch))} for sample in batch]

    def _find(self, image: int, num_images: int) -> Instances:
        draw = torch.Generator().manual_seed(image)
        found = Instances((SIDE, SIDE))
        corners = 5 + 3 * self.weight.detach() * torch.rand(6, 2, generator=draw) / num_images
        found.pred_boxes = Boxes(torch.cat([corners, corners + 20 + torch.rand(6, 2, generator=draw) * image], dim=1))
        found.scores = torch.rand(6, generator=draw)
        found.pred_classes = torch.arange(6) % 2
        found.pred_masks = torch.zeros(6, SIDE, SIDE, dtype=torch.bool)
        for mask, box in zip(found.pred_masks, found.pred_boxes.tensor.int().tolist(), strict=True):
            mask[box[1] : box[3], box[0] : box[2]] = True
        return found


class StopAfter(Stop):
    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def agreed(self, num_processes: int) -> bool:
        self.left -= 1
        return self.left < 0


def a_cfg(folder: Path) -> CfgNode:
    cfg = get_cfg()
    cfg.DATASETS.TEST, cfg.OUTPUT_DIR = (NAME,), str(folder)
    return cfg


def evaluated(
    folder: Path,
    model: Detector | None = None,
    *,
    kept: bool = True,
    batch: int = 1,
    stop: Stop | None = None,
    attempt: int = 1,
    blank: Sequence[int] = (),
    evaluators: Sequence[DatasetEvaluator] = (),
) -> Evaluation:
    def mapped(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, BLANK_FOR: "truncated"} if record["image_id"] in blank else record

    def make_evaluator(cfg: CfgNode, name: str) -> Any:
        own = SturdyCOCOEvaluator(name, output_dir=str(Path(cfg.OUTPUT_DIR, "results")))
        return DatasetEvaluators([own, *evaluators]) if evaluators else own

    return evaluate(
        model or Detector(),
        a_cfg(folder),
        build_test_loader=lambda _, name: build_detection_test_loader(
            DatasetCatalog.get(name), mapper=mapped, batch_size=batch
        ),
        build_evaluator=make_evaluator,
        stop=stop,
        options=Options(
            settings=EvaluationSettings(backend=EvaluationBackend.pycocotools),
            kept_in=folder / "kept" if kept else None,
            attempt=attempt,
        ),
    )


def written(folder: Path) -> str:
    return (folder / "results" / RESULTS_FILE).read_text()


@pytest.mark.parametrize("batch", [1, 5])
def test_an_evaluation_that_was_stopped_continues_with_what_is_left_and_gives_the_same_numbers(
    tmp_path: Path, batch: int
):
    whole = evaluated(tmp_path / "whole", kept=False, batch=batch)

    first, second = Detector(), Detector()
    assert evaluated(tmp_path / "parts", first, batch=batch, stop=StopAfter(2)).stopped
    parts = evaluated(tmp_path / "parts", second, batch=batch, attempt=2)

    assert repr(parts.metrics) == repr(whole.metrics)  # NaN is not equal to itself
    assert 0 < parts.metrics["segm/AP"] < 100
    assert written(tmp_path / "parts") == written(tmp_path / "whole")
    assert (len(first.seen), len(second.seen)) == (2 * batch, NUM_IMAGES - 2 * batch)


def forked(folder: Path, pause_s: float, attempt: int, rank: int = 0, ranks: int = 1) -> int:
    """A process that evaluates and writes its metrics down."""
    child = os.fork()
    if child:
        return child
    try:
        if ranks > 1:
            store = f"file://{folder}/store{attempt}"
            distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
        metrics = evaluated(folder, Detector(pause_s=pause_s), attempt=attempt).metrics
        if rank == 0:
            (folder / "metrics").write_text(repr(metrics))
    finally:
        os._exit(0)


NO_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
UNTHREADED = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@NO_FORK
@UNTHREADED
@pytest.mark.slow
@pytest.mark.parametrize("most_ranks", [1, 2])
def test_an_evaluation_that_is_killed_twenty_times_at_random_gives_the_same_numbers(tmp_path: Path, most_ranks: int):
    whole = evaluated(tmp_path, kept=False).metrics
    draw = random.Random(most_ranks)

    for attempt in range(1, NUM_KILLS + 1):
        ranks = draw.randint(1, most_ranks)
        children = [forked(tmp_path, 0.3, attempt, rank, ranks) for rank in range(ranks)]
        time.sleep(draw.uniform(0.02, 0.5))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    kept = len(entries_of(tmp_path))
    os.waitpid(forked(tmp_path, 0.0, NUM_KILLS + 1), 0)

    assert (tmp_path / "metrics").read_text() == repr(whole)
    assert 0 < kept < NUM_IMAGES
    assert len(entries_of(tmp_path)) <= NUM_IMAGES + NUM_KILLS  # each image once, but for lines that a kill has cut off


def entries_of(folder: Path) -> list[bytes]:
    return [line for file in sorted((folder / "kept").rglob("*.journal")) for line in file.read_bytes().splitlines()]


def test_a_damaged_result_is_computed_again(tmp_path: Path):
    whole = evaluated(tmp_path / "whole", kept=False)
    evaluated(tmp_path, stop=StopAfter(6))
    file = next((tmp_path / "kept").rglob("*.journal"))
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"1", b"2")
    lines[-1] = lines[-1][: len(lines[-1]) // 2]  # cut off by a kill
    file.write_bytes(b"".join(lines))

    model = Detector()
    continued = evaluated(tmp_path, model, attempt=2)

    assert len(model.seen) == NUM_IMAGES - 4
    assert repr(continued.metrics) == repr(whole.metrics)


@pytest.mark.parametrize("change", ["weights", "settings", "proposals"])
def test_results_of_other_weights_or_settings_do_not_count(tmp_path: Path, change: str):
    evaluated(tmp_path, stop=StopAfter(6))
    model = Detector(weight=0.5 if change == "weights" else 1.0)
    cfg = a_cfg(tmp_path)
    if change == "settings":
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.3
    if change == "proposals":
        cfg.DATASETS.PROPOSAL_FILES_TEST = ("others.pkl",)
    images = {number: f"{number}.png" for number in range(1, NUM_IMAGES + 1)}

    assert fingerprint_of(model, cfg, NAME, images) != fingerprint_of(Detector(), a_cfg(tmp_path), NAME, images)
    if change == "weights":
        evaluated(tmp_path, model, attempt=2)
        assert len(model.seen) == NUM_IMAGES
        assert len(entries_of(tmp_path)) == NUM_IMAGES  # the others are gone


def test_where_and_how_a_run_is_trained_is_no_part_of_what_results_count_for(tmp_path: Path):
    other = a_cfg(tmp_path / "elsewhere")
    other.SOLVER.MAX_ITER, other.DATALOADER.NUM_WORKERS, other.MODEL.WEIGHTS, other.SEED = 3, 7, "there", 5

    one, two = {1: "1.png"}, {1: "1.png", 2: "2.png"}
    assert fingerprint_of(Detector(), other, NAME, one) == fingerprint_of(Detector(), a_cfg(tmp_path), NAME, one)
    assert fingerprint_of(Detector(), other, NAME, one) != fingerprint_of(Detector(), other, NAME, two)


@pytest.mark.parametrize("change", ["name", "content", "categories"])
def test_results_of_other_images_by_the_same_ids_do_not_count(tmp_path: Path, change: str):
    image = tmp_path / "a/1.png"
    image.parent.mkdir()
    image.write_bytes(b"before")
    before = fingerprint_of(Detector(), a_cfg(tmp_path), NAME, {1: str(image)})
    if change == "name":
        image = image.rename(tmp_path / "a/2.png")
    if change == "content":
        image.write_bytes(b"another one")
    if change == "categories":
        MetadataCatalog.get(NAME).thing_dataset_id_to_contiguous_id.update({9: 0})

    assert fingerprint_of(Detector(), a_cfg(tmp_path), NAME, {1: str(image)}) != before


def test_a_copy_of_the_images_in_another_folder_is_the_same_to_an_evaluation(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(b"the same")
    of_a, of_b = (
        fingerprint_of(Detector(), a_cfg(tmp_path), NAME, {1: str(tmp_path / folder / "1.png")})
        for folder in ("a", "b")
    )

    assert of_a == of_b


def test_an_unreadable_image_is_reported_by_the_attempt_that_finishes_too(tmp_path: Path):
    evaluated(tmp_path, stop=StopAfter(6), blank=[2])

    finished = evaluated(tmp_path, attempt=2, blank=[2])

    assert [reason for file, reason in finished.unreadable.items() if file.endswith("2.png")] == ["truncated"]


class CountsImages(DatasetEvaluator):
    def reset(self) -> None:
        self.images = 0

    def process(self, inputs: Any, outputs: Any) -> None:
        self.images += len(inputs)

    def evaluate(self) -> dict[str, Any]:
        return {"count": {"images": self.images}}


def test_with_an_evaluator_whose_state_is_no_result_per_image_it_begins_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    evaluated(tmp_path, stop=StopAfter(6), evaluators=[CountsImages()])
    model = Detector()
    finished = evaluated(tmp_path, model, attempt=2, evaluators=[CountsImages()])

    assert "was stopped; it will start over: SturdyCOCOEvaluator, CountsImages keeps no results" in caplog.text
    assert finished.metrics["count/images"] == NUM_IMAGES == len(model.seen)


def test_results_that_cannot_be_kept_end_no_evaluation(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    whole = evaluated(tmp_path / "whole", kept=False)
    (tmp_path / "kept").write_text("")  # no folder can be made there

    finished = evaluated(tmp_path)

    assert repr(finished.metrics) == repr(whole.metrics)
    assert "Results cannot be kept" in caplog.text


def test_nothing_is_left_of_what_was_kept_once_it_is_forgotten(tmp_path: Path):
    evaluated(tmp_path, stop=StopAfter(6))
    assert len(entries_of(tmp_path)) == 6

    forget(tmp_path / "kept")

    assert not (tmp_path / "kept").exists()
