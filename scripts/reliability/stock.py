"""detectron2 as it is, under the same faults: DefaultTrainer with resume_or_load(resume=True), started again and again.

For comparison only: nothing here can miss.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import DefaultTrainer
from detectron2.evaluation import COCOEvaluator
from detectron2.utils.env import seed_all_rng

from launcher.launch.prepare import Since, prepare
from launcher.run.plan import RunPlan
from launcher.train.compat.cfg_node import to_cfg_node
from launcher.train.samples.register import register_datasets
from scripts.reliability.damage import DAMAGES
from scripts.reliability.disk import ROOMY, fill, mounted
from scripts.reliability.job import ITERATIONS, NUM_TRAIN, make_job, session
from scripts.reliability.kills import SHARE_OF_TERM
from scripts.reliability.result import Row
from tests.exact import weights_in

KILLS_EACH = 3
MANY = 1 << 30


@dataclass(frozen=True)
class StockRun:
    """A training of detectron2's own in a folder."""

    plan: RunPlan
    folder: Path
    disk: Path | None = None
    """On which the folder is, where that may be full."""

    @property
    def seen(self) -> Path:
        """Our note of the images: never on the full disk."""
        return (self.disk or self.folder).with_suffix(".images")

    def start(self) -> Any:
        self.folder.mkdir(exist_ok=True)
        process = multiprocessing.get_context("fork").Process(target=_train, args=(self.plan, self.folder, self.seen))
        process.start()
        return process

    def run(self) -> int:
        process = self.start()
        process.join()
        return int(process.exitcode)

    @property
    def final(self) -> Path:
        return self.folder / "model_final.pth"

    @property
    def images(self) -> Counter[str]:
        """How often each image was trained on, in iterations that were not done again."""
        latest: dict[str, list[str]] = {}
        for line in self._seen():
            _, iteration, *names = line.split()
            latest[iteration] = names
        return Counter(name for names in latest.values() for name in names)

    @property
    def iterations(self) -> int:
        return max((int(line.split()[1]) + 1 for line in self._seen()), default=0)

    def done_in_attempt(self, pid: int) -> int:
        return sum(line.split()[0] == str(pid) for line in self._seen())

    def _seen(self) -> list[str]:
        return self.seen.read_text().splitlines() if self.seen.exists() else []


def _train(plan: RunPlan, folder: Path, note_into: Path) -> None:
    os.setsid()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    torch.set_num_threads(1)
    register_datasets(plan.data.splits)
    cfg = to_cfg_node(plan.keys, plan.own_code.config_extensions)
    cfg.OUTPUT_DIR = str(folder)
    seed_all_rng(cfg.SEED)
    trainer = _Stock(cfg)
    seen = os.open(note_into, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if module.training:
            names = " ".join(Path(image["file_name"]).name for image in arguments[0])
            os.write(seen, f"{os.getpid()} {trainer.iter} {names}\n".encode())

    trainer.model.register_forward_pre_hook(note)
    trainer.resume_or_load(resume=True)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    sys.exit(0)


class _Stock(DefaultTrainer):
    @classmethod
    def build_evaluator(cls, cfg: Any, dataset_name: str) -> COCOEvaluator:
        return COCOEvaluator(dataset_name, output_dir=f"{cfg.OUTPUT_DIR}/inference")


def run_part(folder: Path, times: float, seed: int) -> list[Row]:
    request = make_job(folder).named("stock")
    around = session(request)
    plan = prepare(request, around, Since(began=around.now())).plan
    whole, again = (StockRun(plan, folder / name) for name in ("whole", "again"))
    if (whole.run(), again.run()) != (0, 0) or weights_in(whole.final) != weights_in(again.final):
        raise RuntimeError("detectron2 does not give the same weights twice here, so nothing can be compared")
    return [
        under_kills(plan, whole, folder, max(1, round(20 * times)), seed),
        with_damages(plan, whole, folder, max(1, round(16 * times)), seed),
        on_full_disk(plan, whole, folder),
    ]


def under_kills(plan: RunPlan, whole: StockRun, folder: Path, count: int, seed: int) -> Row:
    ended, kills, same, images, lost_by_term = 0, 0, 0, [], []
    for number in range(count):
        chance = random.Random(f"stock {seed} {number}")
        run = StockRun(plan, folder / f"killed-{number}")
        for attempt in range(KILLS_EACH + 1):
            process = run.start()
            until = chance.randrange(1, ITERATIONS) if attempt < KILLS_EACH else MANY
            while process.is_alive() and run.done_in_attempt(process.pid) < until:
                time.sleep(0.01)
            if not process.is_alive():
                break
            before = run.iterations
            asked = chance.random() < SHARE_OF_TERM
            os.kill(process.pid, signal.SIGTERM if asked else signal.SIGKILL)
            process.join()
            kills += 1
            if asked and before:
                lost_by_term.append(before - newest_in(run.folder))
        ended += process.exitcode == 0
        if run.final.exists():
            same += weights_in(run.final) == weights_in(whole.final)
            images.append(len(run.images))
    return Row(
        part="stock",
        tried=f"{count} detectron2 trainings, {kills} kills",
        measured=f"{ended}/{count} came to their end, {same}/{count} with the same weights; of {NUM_TRAIN} images "
        f"{min(images, default=0)} to {max(images, default=0)} were ever trained on ({len(whole.images)} without "
        f"kills); iterations lost at most {max(lost_by_term, default=0)} by SIGTERM",
    )


def newest_in(folder: Path) -> int:
    """Iterations that the newest checkpoint holds."""
    numbers = [int(path.stem.removeprefix("model_")) + 1 for path in folder.glob("model_0*.pth")]
    return max(numbers, default=0)


def with_damages(plan: RunPlan, whole: StockRun, folder: Path, count: int, seed: int) -> Row:
    """The newest checkpoint damaged, or the file that points at it, in a training killed in the middle."""
    start = StockRun(plan, folder / "start")
    process = start.start()
    while process.is_alive() and start.iterations < 12:
        time.sleep(0.005)
    process.kill()
    process.join()
    raised, anew, other, same = 0, 0, 0, 0
    for number in range(count):
        run = StockRun(plan, folder / f"damaged-{number}")
        shutil.copytree(start.folder, run.folder)
        _damage(run.folder, number, random.Random(f"stock damage {seed} {number}"))
        status = run.run()
        if status != 0:
            raised += 1
        elif run.images and min(int(line.split()[1]) for line in run._seen()) == 0:
            anew += 1
        elif weights_in(run.final) == weights_in(whole.final):
            same += 1
        else:
            other += 1
    return Row(
        part="stock",
        tried=f"{count} detectron2 trainings whose newest checkpoint, or its last_checkpoint, is damaged",
        measured=f"{raised} could not be restarted, {anew} silently started over, {other} resumed to other weights, "
        f"{same} to the same",
    )


def _damage(folder: Path, number: int, chance: random.Random) -> None:
    kinds = [*DAMAGES, "empty pointer", "no pointer"]
    kind = kinds[number % len(kinds)]
    pointer = folder / "last_checkpoint"
    if kind == "empty pointer":
        pointer.write_text("")
    elif kind == "no pointer":
        pointer.unlink()
    else:
        newest = folder / pointer.read_text()
        content = bytearray(newest.read_bytes())
        kind(content, chance)  # type: ignore[operator]
        newest.write_bytes(content)


def on_full_disk(plan: RunPlan, whole: StockRun, folder: Path) -> Row:
    starts = (1, 6, 9, 11, 16)
    finished, came_back, same = 0, 0, 0
    for start in starts:
        disk = folder / "disk"
        try:
            with mounted(disk, ROOMY):
                run = StockRun(plan, disk / "run", disk)
                run.seen.unlink(missing_ok=True)
                process = run.start()
                while process.is_alive() and run.iterations < start:
                    time.sleep(0.005)
                fill(disk)
                process.join()
                finished += process.exitcode == 0
                (disk / "filler").unlink()
                came_back += run.run() == 0
                same += run.final.exists() and weights_in(run.final) == weights_in(whole.final)
        except PermissionError as error:
            return Row(part="stock", tried="a full disk", measured=f"not measured: {error}")
    return Row(
        part="stock",
        tried=f"{len(starts)} detectron2 trainings of {ITERATIONS} iterations, whose disk is full from "
        f"iteration {', '.join(map(str, starts))} on",
        measured=f"{finished} finished on it; with free space again {came_back} resumed, {same} to the same weights",
    )
