"""The functions behind `launcher.load`, `evaluate` and `doctor`. Imported when one of them is first asked for."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.cli.inference import compose_request, sort_words
from launcher.cli.training import train
from launcher.config.request import RunRequest
from launcher.config.task import EvaluateRequest, PredictRequest
from launcher.config.unused import notices_of_unused
from launcher.config.values import read_json
from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Diagnosis
from launcher.device.look.probe import look_at_devices
from launcher.device.policy.choice import by_default
from launcher.device.policy.plan import DevicePlan, plan_devices
from launcher.errors import RequestError
from launcher.launch.prepare import look_for
from launcher.run.evaluation import EvaluationSummary
from launcher.run.found import is_run
from launcher.run.identity import run_folder
from launcher.run.paths import RunPaths
from launcher.run.work import classes_of

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from launcher.train.prediction.loaded import Predictor

HIDDEN = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}


def load(model: str, *settings: str, checkpoint: str = "") -> Predictor:
    """A predictor in this process, on the device that the same policy chooses as for a training.

    `model` is a run folder, the name of a run or of a model of detectron2's zoo; `settings` are those of the command
    line, such as `"device=cpu"` or `"MODEL.ROI_HEADS.SCORE_THRESH_TEST=0.5"`; `checkpoint` is `best`, `last`, `final`
    or a path. torch is imported now, if it has not been.

    Raises:
        LauncherError: there is no such model, its weights are another's, or the device policy refuses.
    """
    request = _request_for(model, settings, checkpoint)
    for notice in notices_of_unused(request):
        logger.warning("%s", notice)
    diagnosis = diagnose(look_for(request, os.environ))
    devices = plan_devices(request.device, request.keys, diagnosis, trains=False)
    if devices.num_processes > 1:
        raise RequestError(f"device.count={request.device.count}: launcher.load uses one device. Leave it out.")
    why = devices.reason + shield(devices, diagnosis, os.environ)
    loaded: Any = import_module("launcher.train.prediction.loaded")
    predictor: Predictor = loaded.load_here(
        loaded.ToLoad(
            keys=request.keys.with_(devices.adjustments),
            own_code=request.own_code,
            device=_torch_device(devices),
            why=why,
            precision=devices.precision,
            deformable_by=devices.deformable_by,
            averaged=request.ema.decay != 0,
            classes=classes_of(request.task) if isinstance(request.task, PredictRequest) else "",
            annotations=request.dataset.train.json,
        )
    )
    return predictor


def evaluate(model: str, *settings: str, checkpoint: str = "") -> dict[str, EvaluationSummary]:
    """How good a model is, by data set: what `launcher eval` shows, in a process of its own and with the same folders.

    `model`, `settings` and `checkpoint` are those of `load`. What is done already is read.

    Raises:
        LauncherError: there is no such model or nothing to evaluate on, or the evaluation failed.
    """
    words = sort_words(_words_for(model, settings, checkpoint), command="eval")
    task = EvaluateRequest(run=words.run, checkpoint=words.checkpoint, out="")
    request = compose_request(task, words, command="launcher eval")
    train(request, ("launcher", "eval", model, *settings))
    read = (read_json(file, EvaluationSummary) for file in RunPaths(run_folder(request)).summaries())
    return {summary.dataset: summary for summary in read}


def doctor() -> Diagnosis:
    """Which devices are usable here, and why not: what `launcher doctor` shows."""
    return by_default(diagnose(look_at_devices(os.environ, full=True)))


def _request_for(model: str, settings: tuple[str, ...], checkpoint: str) -> RunRequest:
    words = sort_words(_words_for(model, settings, checkpoint), command="predict")
    task = PredictRequest(
        run=words.run, checkpoint=words.checkpoint, out="", inputs=(), threshold=0.5, draw=False, images_json=""
    )
    return compose_request(task, words, command="launcher predict")


def _words_for(model: str, settings: tuple[str, ...], checkpoint: str) -> list[str]:
    is_zoo = "/" in model and not is_run(Path(model)) and model.partition("/")[0][:1].isupper()
    chosen = [f"checkpoint={checkpoint}"] if checkpoint else []
    return [f"model={model}" if is_zoo else model, *settings, *chosen]


def shield(devices: DevicePlan, diagnosis: Diagnosis, environ: MutableMapping[str, str]) -> str:
    """Keep torch from the driver of a machine whose GPUs cannot be used, as far as a running process can; says so."""
    if devices.kind != "cpu" or diagnosis.usable_gpus:
        return ""
    if _cuda_is_in_use():
        return " (CUDA is in use in this process already)"
    environ.update(HIDDEN)
    if devices.hide_driver:
        return (
            " (CUDA_VISIBLE_DEVICES is emptied in this process; its driver library cannot be hidden any more, which "
            "`launcher predict` does for a process of its own)"
        )
    return ""


def _cuda_is_in_use() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _torch_device(devices: DevicePlan) -> str:
    """The chosen GPU by the number that it has in this process."""
    if devices.kind != "cuda":
        return devices.kind
    numbers: Any = import_module("launcher.train.prediction.gpu")
    return f"cuda:{numbers.number_of(devices.gpu_uuids[0])}"
