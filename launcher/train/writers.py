"""Where the numbers of a training go: metrics.json and TensorBoard, without repeats after a resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from detectron2.config import CfgNode
from detectron2.utils.events import EventWriter, JSONWriter, TensorboardXWriter

from launcher.config.request import LoggingSettings
from launcher.config.values import to_plain, write_text
from launcher.run.paths import RunPaths
from launcher.run.plan import RunPlan
from launcher.train.trainer import Trainer


class TensorBoardWriter(TensorboardXWriter):
    """detectron2's TensorBoard writer that can also write text."""

    def write_yaml(self, tag: str, text: str, attempt: int) -> None:
        self._writer.add_text(tag, f"```yaml\n{text}\n```", attempt)


def build_writers(paths: RunPaths, logging: LoggingSettings, trainer: Trainer) -> list[EventWriter]:
    """The writers of rank 0. What a former attempt wrote after its last checkpoint is cut off."""
    cut_back(paths.metrics, trainer.written_until + 1)
    writers: list[EventWriter] = [JSONWriter(str(paths.metrics))]
    if logging.tensorboard:
        # purge_step makes TensorBoard forget what a former attempt wrote from that step on.
        writers.append(TensorBoardWriter(str(paths.tensorboard), purge_step=trainer.written_until + 1))
    return writers


def write_plan_as_text(writers: Sequence[EventWriter], cfg: CfgNode, plan: RunPlan) -> None:
    described = yaml.safe_dump({**to_plain(plan), "detectron2": "see config"}, sort_keys=False)
    for writer in writers:
        if isinstance(writer, TensorBoardWriter):
            writer.write_yaml("config", cfg.dump(), plan.attempt)
            writer.write_yaml("plan", described, plan.attempt)


def cut_back(metrics: Path, first_iteration: int) -> None:
    """Drop the entries of `metrics.json` from `first_iteration` on, and a line that was only half written."""
    if not metrics.exists():
        return
    lines = metrics.read_text().splitlines()
    kept = [line for line in lines if _iteration_of(line) is not None and _iteration_of(line) < first_iteration]  # type: ignore[operator]
    # Also when nothing is dropped: an attempt that was overtaken has the former file open, and writes into that.
    write_text(metrics, "".join(line + "\n" for line in kept))


def _iteration_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return None
