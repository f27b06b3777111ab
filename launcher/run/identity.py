"""Which run a command means: the same command is the same run, whatever the clock and the machine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.keys import Keys
from launcher.config.request import DEFAULT_OUTPUT_DIR, RunRequest, Scaling
from launcher.config.task import EvaluateRequest, InferenceRequest, TrainRequest
from launcher.config.values import to_plain
from launcher.run.found import is_run
from launcher.run.naming import LONGEST_NAME, digest_of, group_of, name_of
from launcher.run.paths import RunPaths
from launcher.run.stored import read_request

# Where and how a run executes, is watched and resumed does not make it another run.
NOT_IDENTITY = (
    "experiment",
    "device",
    "checkpoint",
    "early_stopping",
    "evaluation",
    "cluster",
    "pool",
    "sweep",
    "search",
    "resume",
    "run",
    "logging",
    "hydra",
    "dataset.root",
    "dataset.check",
    "dataset.index",
    "dataset.max_bad",
    "CUDNN_BENCHMARK",
    "DATALOADER.NUM_WORKERS",
    "MODEL.DEVICE",
    "OUTPUT_DIR",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD",
    "VIS_PERIOD",
)
NOT_OF_INFERENCE = (*NOT_IDENTITY, "SOLVER", "SEED", "DATALOADER", "DATASETS.TRAIN", "dataset.train")


def run_folder(request: RunRequest) -> Path:
    """Where this run lives; looks at which runs there are.

    A sweep says where its jobs live. An OUTPUT_DIR that was set is taken as it is (composing spells the default of that
    otherwise where somebody wrote it); else it is `<root>/<group>/<name>`. Without our sweeper a sweep that names its
    runs gets one folder per job below that name. A run that an earlier version named stays where it is.
    """
    if request.typed.folder:
        return Path(request.typed.folder)
    output_dir = str(request.keys.get("OUTPUT_DIR", DEFAULT_OUTPUT_DIR))
    if output_dir != DEFAULT_OUTPUT_DIR:
        return Path(output_dir).absolute()
    if not isinstance(request.task, TrainRequest):
        return _folder_of_inference(request, request.task)
    root = Path(request.run.root).absolute()
    before = root.joinpath(*_parts_before(request))
    return before if is_run(before) else _folder_in(root / group_of(request), request)


def _folder_in(group: Path, request: RunRequest) -> Path:
    if request.run.name and not request.typed.in_sweep:
        return group / request.run.name
    typed = request.typed.swept if request.run.name else request.typed.overrides
    name = name_of(settings_that_matter(typed), request)
    folder = group / request.run.name / name.text
    if name.is_complete:
        return folder
    apart = folder.with_name(f"{name.text}-{name.digest}")
    return apart if is_run(apart) or _is_of_others(folder, request, name.digest) else folder


def _is_of_others(folder: Path, request: RunRequest, digest: str) -> bool:
    """Whether a run lives there that was typed otherwise, and is called the same."""
    typed = read_request(RunPaths(folder)).get("typed")
    part = "swept" if request.run.name else "overrides"
    if not isinstance(typed, dict) or not isinstance(typed.get(part), list):
        return False  # nothing lives there, or a start in it says what is wrong
    return digest_of(settings_that_matter([str(text) for text in typed[part]])) != digest


def settings_that_matter(overrides: Iterable[str]) -> dict[str, str]:
    """Those that make another run, as they were typed; of a setting typed twice the last one counts."""
    typed = {_key_of(text): text.partition("=")[2] for text in overrides}
    # Which files are trained on follows from the folder where none is named.
    is_searched = typed.get("dataset") == "coco_json" and "dataset.train.json" not in typed
    ours = {"dataset.root"} if is_searched else set()
    return {key: value for key, value in typed.items() if key in ours or not is_within(key, NOT_IDENTITY)}


def _parts_before(request: RunRequest) -> Iterator[str]:
    """The folder below the root that earlier versions gave a run."""
    yield request.typed.experiment or "no-experiment"
    yield request.run.name or name_before(request.typed.overrides)
    if request.run.name and request.typed.in_sweep:
        yield name_before(request.typed.swept)


def _folder_of_inference(request: RunRequest, task: InferenceRequest) -> Path:
    """As typed, or one below the run's (or `run.root`) that no other request shares."""
    if task.out:
        return Path(task.out)
    kind = "evaluations" if isinstance(task, EvaluateRequest) else "predictions"
    about = task.checkpoint or "model" if isinstance(task, EvaluateRequest) else task.inputs[0]
    digest = fingerprint_of(identity_of(request))[:8]
    name = request.run.name or f"{spelled(Path(about).stem)[:LONGEST_NAME]}-{digest}"
    return Path(task.run or request.run.root, kind, name).absolute()


def name_before(overrides: Sequence[str]) -> str:
    """The name that earlier versions made of the overrides: `SOLVER.BASE_LR-0.01+SOLVER.IMS_PER_BATCH-4`."""
    last_of_each = {_key_of(override): override for override in overrides}
    relevant = sorted(override for key, override in last_of_each.items() if not is_within(key, NOT_IDENTITY))
    if not relevant:
        return "default"
    name = "+".join(spelled(_short(override)) for override in relevant)
    if len(name) <= LONGEST_NAME and all(_survives(override) for override in relevant):
        return name
    digest = hashlib.sha256("\n".join(relevant).encode()).hexdigest()[:8]
    return f"{name[:LONGEST_NAME].rstrip('_+-')}-{digest}"


def spelled(text: str) -> str:
    """With characters alone that neither a shell nor Hydra treats specially."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_")


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """A short name for an identity, as `identity_of` gives it or as it was read back; empty for none."""
    if not identity:
        return ""
    return hashlib.sha256(json.dumps(to_plain(identity), sort_keys=True).encode()).hexdigest()[:16]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Leaves (dotted key, before, now) that make two requests different runs; both as `identity_of` gives them."""
    return sorted(Keys(now).changed_from(Keys(before)), key=lambda changed: changed[0])


def identity_of(request: RunRequest, from_data: Iterable[Adjustment] = ()) -> dict[str, Any]:
    """The part of a request that says which run it is, as plain nested data.

    What follows `from_data`, such as the number of classes, belongs to it: a model of other classes is another run.
    """
    if not isinstance(request.task, TrainRequest):
        return _identity_of_inference(request, request.task)
    asked = {"dataset": _data_of(request), **request.keys.with_(from_data).nested()}
    if request.scaling is Scaling.linear:  # the others train the same batches
        asked["scaling"] = request.scaling.value
    if request.ema.decay != 0:
        asked["ema"] = to_plain(request.ema)
    if request.own_code.imports:
        asked["imports"] = list(request.own_code.imports)
    if request.own_code.trainer:
        asked["trainer"] = request.own_code.trainer
    return _without(NOT_IDENTITY, asked)


def _data_of(request: RunRequest) -> dict[str, Any]:
    """Without the settings of a division that was not asked for."""
    plain: dict[str, Any] = to_plain(request.dataset)
    if request.dataset.val.fraction == 0:
        plain["val"] = {name: plain["val"][name] for name in ("json", "images")}
    return plain


def _identity_of_inference(request: RunRequest, task: InferenceRequest) -> dict[str, Any]:
    """What an evaluation or prediction follows from, but for the weights behind their name."""
    asked = {
        **request.keys.nested(),
        "averaged": request.ema.decay != 0,
        "precision": request.device.precision.value,
        "imports": list(request.own_code.imports),
        "trainer": request.own_code.trainer,
    }
    if isinstance(task, EvaluateRequest):
        return _without(NOT_OF_INFERENCE, {**asked, "task": "evaluate", "dataset": _data_of(request)})
    settings = {"threshold": task.threshold, "draw": task.draw, "images_json": task.images_json}
    return _without(NOT_OF_INFERENCE, {**asked, **settings, "task": "predict", "inputs": list(task.inputs)})


def _without(nodes: Iterable[str], asked: Mapping[str, Any]) -> dict[str, Any]:
    leaves = Keys(asked).leaves()
    return Keys.of_leaves((name, value) for name, value in leaves if not is_within(name, nodes)).nested()


def is_within(key: str, nodes: Iterable[str]) -> bool:
    """Whether a dotted key, or a group choice, is one of these or lies below one."""
    return any(key == node or key.startswith((node + ".", node + "/")) for node in nodes)


def _key_of(override: str) -> str:
    return override.lstrip("+~").split("=", 1)[0]


def _short(override: str) -> str:
    """`SOLVER.BASE_LR-0.001`: the last two parts of the key (NORM alone is not unique), of a path the last."""
    key, _, value = override.lstrip("+~").partition("=")
    return f"{'.'.join(key.split('.')[-2:])}-{Path(value).name or value}"


def _survives(override: str) -> bool:
    """Whether `_short` and the replacement of odd characters keep the whole value."""
    return re.fullmatch(r"[A-Za-z0-9._-]*", override.partition("=")[2]) is not None
