"""Everything that can be wrong with a request by itself: all of it at once, before anything is looked at."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.config.asked import (
    coco_splits,
    count_of,
    evaluated_on,
    is_named,
    listed,
    named_twice,
    names_in,
    time_limit_s,
)
from launcher.config.batch import multiples_near, reference_of, shared_batch, sharing_problem
from launcher.config.keys import Keys, flat
from launcher.config.known_datasets import find_registered
from launcher.config.metrics import metric_problem
from launcher.config.places import problem_with_name, problems_with_paths, shortened
from launcher.config.ranges import Range, numbers_of, problem_with
from launcher.config.readers import WITH_SEMANTIC_HEAD
from launcher.config.request import DeviceChoice, RunRequest, Scaling
from launcher.config.schema import OWN_NODES
from launcher.config.sweep_checks import problems_with_sweep
from launcher.config.task import PredictRequest, TaskRequest, TrainRequest
from launcher.config.unused import typed_without_effect, wrong_kind_of_data
from launcher.config.weights import problems_with_weights
from launcher.errors import RequestError

KEY_RANGES = {
    "SOLVER.MAX_ITER": Range(at_least=1),
    "SOLVER.IMS_PER_BATCH": Range(at_least=1),
    "SOLVER.REFERENCE_WORLD_SIZE": Range(at_least=0, note="0 stands for no particular number"),
    "SOLVER.BASE_LR": Range(at_least=0),
    "SEED": Range(at_least=-1, at_most=2**32 - 1, note="-1 draws one"),
    "DATALOADER.NUM_WORKERS": Range(at_least=0),
}
"""Of detectron2's keys."""
WEIGH_DATASETS = ("WeightedTrainingSampler", "WeightedCategoryTrainingSampler")
DEVICES = ("cuda", "cpu", "mps")
SYSTEM_FOLDERS = ("/proc/", "/sys/", "/dev/pts/", "/boot/")
SUBSET = Range(above=0, at_most=1)

Check = Callable[[RunRequest], Iterator[str]]


def refuse_wrong(request: RunRequest) -> None:
    """Let only a request pass that can be meant.

    Raises:
        RequestError: it names every problem, one per line.
    """
    if problems := problems_with_request(request):
        raise RequestError("\n".join(problems))


def problems_with_request(request: RunRequest) -> list[str]:
    """What this request cannot mean on any machine and with any data, section by section, each with what to type."""
    problems: list[str] = []
    for section, checks in _CHECKS.items():
        if section in OWN_NODES:
            problems += _out_of_range(section, request)
        for check in checks:
            if _concerns(check, request.task):
                problems += check(request)
    return problems


def _concerns(check: Check, task: TaskRequest) -> bool:
    if isinstance(task, TrainRequest):
        return check not in _ABOUT_INFERENCE
    return check not in _ABOUT_TRAINING and not (isinstance(task, PredictRequest) and check in _ABOUT_DATA)


def _out_of_range(section: str, request: RunRequest) -> Iterator[str]:
    for name, value, allowed in numbers_of(getattr(request, section), section):
        if problem := problem_with(name, value, allowed):
            yield problem


# device


def _count(request: RunRequest) -> Iterator[str]:
    asked = request.device
    if asked.count != "all" and count_of(asked) is None:
        yield f"device.count={asked.count}: must be a whole number >= 1, or all. For example: device.count=1."


def _ids(request: RunRequest) -> Iterator[str]:
    asked = request.device
    for entry in asked.ids:
        if not isinstance(entry, (int, str)) or isinstance(entry, bool) or entry == "":
            yield f"device.ids: {entry!r} is neither an index nor a UUID. For example: device.ids=[0,1]."
    if len(set(map(str, asked.ids))) < len(asked.ids):
        yield named_twice(asked)
    if asked.choice is DeviceChoice.cpu and asked.ids:
        yield f"device.ids={listed(asked.ids)} names GPUs, but device.choice=cpu. Leave one of them out."


def _two_choices(request: RunRequest) -> Iterator[str]:
    device = request.keys.get("MODEL.DEVICE", "cuda")
    if request.device.choice is DeviceChoice.cuda and device in ("cpu", "mps"):
        yield (
            f"device.choice=cuda contradicts MODEL.DEVICE={device}. "
            "Leave one of them out; device=cpu is the way to ask for the CPU."
        )
    if device not in DEVICES:
        index = str(device).removeprefix("cuda:")
        one = index if index.isdigit() and index.isascii() else 0
        yield (
            f"MODEL.DEVICE={device}: must be one of {', '.join(DEVICES)}. "
            f"For a certain GPU set device=cuda device.ids=[{one}]."
        )


def _shares_of_the_batch(request: RunRequest) -> Iterator[str]:
    count = count_of(request.device)
    if count is not None and (problem := sharing_problem(shared_batch(request.keys, request.scaling), count)):
        yield f"device.count={count}: {problem}"


# dataset


def _something_to_train_on(request: RunRequest) -> Iterator[str]:
    if not names_in(request.keys, "TRAIN"):
        yield (
            "DATASETS.TRAIN is empty, so there is nothing to train on. Choose a data set, for example "
            "dataset=coco_2017, or a whole recipe, for example experiment=demo."
        )


def _coco_files(request: RunRequest) -> Iterator[str]:
    yield from request.found.problems
    for split, _, asked in coco_splits(request.dataset):
        if request.found.problems or (not is_named(asked) and not _must_be_named(split, request)):
            continue
        if not asked.json:
            yield (
                f"dataset.{split}.json is not set. Name the COCO-format file: dataset.{split}.json=PATH, or no file at "
                "all and the folder of a whole data set: dataset.root=FOLDER."
            )
        elif not asked.images:
            yield (
                f"dataset.{split}.images is not set, and its images are not beside {shortened(asked.json)}. "
                f"Name the folder of images: dataset.{split}.images=PATH."
            )


def _must_be_named(split: str, request: RunRequest) -> bool:
    return split == "train" and isinstance(request.task, TrainRequest)


def _two_ways_to_validate(request: RunRequest) -> Iterator[str]:
    train, val = request.dataset.train, request.dataset.val
    if val.fraction <= 0:
        return
    # What a fraction is of has been filled in, from the training split.
    others = [
        f"dataset.val.{name}={shortened(given)}"
        for name, given, filled in (("json", val.json, train.json), ("images", val.images, train.images))
        if given and filled and given != filled
    ]
    if others:
        yield (
            f"dataset.val.fraction={val.fraction:g} validates on a part of dataset.train, and {' and '.join(others)} "
            "on something else. Leave one of them out, or set dataset.val.fraction=0."
        )


def _dataset_name(request: RunRequest) -> Iterator[str]:
    splits, name = coco_splits(request.dataset), request.dataset.name
    if splits and not name:
        yield "dataset.name is empty. Give the data set a name, for example dataset.name=fruits."
    elif splits and (_leaves_its_folder(name) or "/" in name):
        yield f"dataset.name={name} is a path, not a name. For example: dataset.name=fruits."
    if taken := [registered for _, registered, _ in splits if find_registered(registered)]:
        yield (
            f"dataset.name={name} would give {', '.join(taken)}, which detectron2 has itself. "
            "Choose another dataset.name."
        )


def _architecture(request: RunRequest) -> Iterator[str]:
    architecture = request.keys.get("MODEL.META_ARCHITECTURE", "")
    ours = {name for _, name, _ in coco_splits(request.dataset)}
    if architecture in WITH_SEMANTIC_HEAD and ours & set(names_in(request.keys, "TRAIN")):
        yield (
            f"MODEL.META_ARCHITECTURE={architecture} learns semantic labels, which COCO-format boxes and masks are "
            "not. Choose a model such as model=COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x."
        )


# run


def _places(request: RunRequest) -> Iterator[str]:
    if request.keys.get("OUTPUT_DIR", None) == "":
        yield "OUTPUT_DIR is empty. Set OUTPUT_DIR=DIR, or leave it out to use run.root."
    for setting, place in (("OUTPUT_DIR", request.keys.get("OUTPUT_DIR", "")), ("run.root", request.run.root)):
        if problem := _no_place_for_a_run(place, request):
            yield f"{setting}={shortened(place)}: {problem}. Set {setting}=FOLDER, one for runs."
    if not request.run.root:
        yield "run.root is empty. Set run.root=DIR, or run.root=. for the current folder."
    if (name := request.run.name) and _leaves_its_folder(name):
        yield f"run.name={name} is not a folder below run.root. Set run.name=NAME, and run.root=DIR for another place."
    if (name := request.typed.experiment) and _leaves_its_folder(name):
        yield (
            f"experiment={name} is not a folder below run.root, where its runs are kept. "
            "Name a file in the folder experiment/, and other folders with --config-dir DIR."
        )


def _no_place_for_a_run(place: str, request: RunRequest) -> str:
    """Why nothing should be written there; empty where it can be."""
    folder = os.path.realpath(place) if place and "\0" not in place else ""
    if folder == "/" or f"{folder}/".startswith(SYSTEM_FOLDERS):
        return "that is a folder of the system"
    for split, _, asked in coco_splits(request.dataset):
        if folder and asked.images and folder == os.path.realpath(asked.images):
            return f"that is dataset.{split}.images, the folder of images"
    return ""


def _names(request: RunRequest) -> Iterator[str]:
    # A data set is registered, and its results are kept, under the name and a few letters more.
    named = {
        "dataset.name": f"{request.dataset.name}_train",
        "run.name": request.run.name,
        "experiment": request.typed.experiment,
    }
    for setting, name in named.items():
        if problem := problem_with_name(name):
            yield f"{setting}={shortened(name)}: {problem}."


def _leaves_its_folder(name: str) -> bool:
    place = Path(name)
    return place.is_absolute() or ".." in place.parts or not place.parts or name.startswith("~")


def _time_limit(request: RunRequest) -> Iterator[str]:
    if time_limit_s(request.run.time_limit) is None:
        yield (
            f"run.time_limit={request.run.time_limit} is not a time. Use minutes, H:MM:SS or D-HH:MM:SS as for Slurm, "
            "or 0 for no limit."
        )


def _nothing_to_resume(request: RunRequest) -> Iterator[str]:
    if request.resume not in ("auto", "never"):
        yield (
            f"resume={request.resume}: an evaluation or prediction continues by itself. Leave it out, start over with "
            "resume=never, or choose weights with MODEL.WEIGHTS=PATH."
        )


# checkpoint, early_stopping


def _best_metric(request: RunRequest) -> Iterator[str]:
    metric = request.checkpoint.keep_best
    if metric and not evaluated_on(request.dataset, request.keys):
        yield (
            f"checkpoint.keep_best={metric}, but there is nothing to evaluate on. Name it with DATASETS.TEST=[NAME], "
            "or with dataset.val of a coco_json data set."
        )
    elif metric and (problem := metric_problem("checkpoint.keep_best", metric, request)):
        yield problem


def _evaluations_to_stop_by(request: RunRequest) -> Iterator[str]:
    asked, keys = request.early_stopping, request.keys
    if not asked.metric:
        return
    where = f"early_stopping.metric={asked.metric}, but"
    if not evaluated_on(request.dataset, keys):
        yield f"{where} there is nothing to evaluate on. Name it with DATASETS.TEST=[NAME]."
    if keys["TEST.EVAL_PERIOD"] <= 0:
        yield f"{where} nothing is evaluated before the end. Say how often with TEST.EVAL_PERIOD=ITERATIONS."
    if problem := metric_problem("early_stopping.metric", asked.metric, request):
        yield problem


# imports, trainer


def _names_of_own_code(request: RunRequest) -> Iterator[str]:
    own = request.own_code
    for name in own.imports:
        if not _is_module(name):
            yield f"imports names {name}, which is no module. Type imports=[{_as_module(name)}]."
    module, colon, attribute = own.trainer.partition(":")
    if own.trainer and not (colon and _is_module(module) and _is_dotted(attribute)):
        yield f"trainer={own.trainer} is no module:class. Type trainer={_as_trainer(own.trainer)}."
    if twice := sorted({name for name in own.imports if own.imports.count(name) > 1}):
        yield f"imports names {', '.join(twice)} twice. Name each module once."


def _is_module(name: str) -> bool:
    return _is_dotted(name) and not name.endswith(".py")


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _as_module(file: str) -> str:
    name = file.removesuffix(".py").strip("./").replace("/", ".")
    return name if _is_dotted(name) else "package.module"


def _as_trainer(text: str) -> str:
    module, _, name = text.partition(":")
    module = _as_module(module)
    if not name and module.rpartition(".")[2][:1].isupper():
        module, _, name = module.rpartition(".")
    return f"{module}:{name or 'MyTrainer'}"


# detectron2's keys


def _key_ranges(request: RunRequest) -> Iterator[str]:
    for name, value in request.keys.leaves():
        if name in KEY_RANGES and (problem := problem_with(name, value, KEY_RANGES[name])):
            yield problem
        elif any(isinstance(one, float) and math.isnan(one) for one in flat(value)):
            yield f"{name}={str(value).replace(' ', '')}: must not be NaN."


def _steps(request: RunRequest) -> Iterator[str]:
    """What fvcore's MultiStepParamScheduler refuses; detectron2 itself leaves out steps behind the last iteration."""
    keys = request.keys
    if request.own_code.trainer or keys.get("SOLVER.LR_SCHEDULER_NAME", "") != "WarmupMultiStepLR":
        return
    last, asked = keys["SOLVER.MAX_ITER"], keys.get("SOLVER.STEPS", [])
    steps = [step for step in asked if isinstance(step, int | float) and step <= last]
    if steps != sorted(set(steps)) or last in steps or min(steps, default=1) <= 0:
        better = [step for step in sorted(set(steps)) if 0 < step < last]
        yield (
            f"SOLVER.STEPS={listed(asked)}: steps must increase from above 0 and lie below SOLVER.MAX_ITER={last}. "
            f"Set SOLVER.STEPS={listed(better)}."
        )


def _reference_batch(request: RunRequest) -> Iterator[str]:
    reference, batch = reference_of(request.keys), shared_batch(request.keys, Scaling.none)
    if request.scaling is Scaling.linear and reference > 0 and batch is not None and batch % reference:
        yield (
            f"scaling=linear: SOLVER.IMS_PER_BATCH={batch} cannot be shared equally by the processes that it was made "
            f"for, SOLVER.REFERENCE_WORLD_SIZE={reference}. "
            f"Set SOLVER.IMS_PER_BATCH={multiples_near(batch, reference)}, or leave scaling=linear out."
        )


def _sampler(request: RunRequest) -> Iterator[str]:
    sampler = request.keys.get("DATALOADER.SAMPLER_TRAIN", "")
    # An older detectron2 has neither the samplers nor their keys, which `names.py` says.
    if sampler == "RandomSubsetTrainingSampler" and "DATALOADER.RANDOM_SUBSET_RATIO" in request.keys:
        name = "DATALOADER.RANDOM_SUBSET_RATIO"
        if problem := problem_with(name, request.keys[name], SUBSET):
            yield problem
    if sampler in WEIGH_DATASETS and "DATASETS.TRAIN_REPEAT_FACTOR" in request.keys:
        yield from _repeat_factors(sampler, request.keys)


def _repeat_factors(sampler: str, keys: Keys) -> Iterator[str]:
    train, given = names_in(keys, "TRAIN"), keys["DATASETS.TRAIN_REPEAT_FACTOR"]
    typed = f"DATASETS.TRAIN_REPEAT_FACTOR={str(given).replace(' ', '')}"
    if not all(_is_factor(pair) for pair in given):
        yield f"{typed} is not a list of names and factors. Use [[NAME,FACTOR],...]."
        return
    if unknown := [name for name, _ in given if name not in train]:
        yield f"{typed} names {', '.join(map(str, unknown))}, but DATASETS.TRAIN has {', '.join(train) or 'nothing'}."
    factors = dict.fromkeys(train, 1.0) | {name: factor for name, factor in given if name in train}
    allowed = Range(above=0) if sampler == "WeightedCategoryTrainingSampler" else Range(at_least=0)
    if any(factor not in allowed for factor in factors.values()):
        yield f"{typed}: with {sampler} each factor must be {allowed}."
    elif factors and not any(factors.values()):
        yield f"{typed}: every factor is 0, which leaves no image. Give one of them a factor > 0."


def _is_factor(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], (int, float))


_CHECKS: Mapping[str, tuple[Check, ...]] = {
    "device": (_count, _ids, _two_choices, _shares_of_the_batch),
    "dataset": (
        _something_to_train_on,
        wrong_kind_of_data,
        _coco_files,
        _two_ways_to_validate,
        _dataset_name,
        _architecture,
    ),
    "run": (problems_with_paths, _names, _places, _time_limit, _nothing_to_resume),
    "logging": (),
    "checkpoint": (_best_metric,),
    "ema": (),
    "early_stopping": (_evaluations_to_stop_by,),
    "evaluation": (),
    "cluster": (),
    "pool": (),
    "sweep": (problems_with_sweep,),
    "search": (),
    "own_code": (_names_of_own_code,),
    "keys": (problems_with_weights, _key_ranges, _steps, _reference_batch, _sampler, typed_without_effect),
}
"""By section, in the order in which problems are named."""
_ABOUT_TRAINING = frozenset({
    _shares_of_the_batch,
    _something_to_train_on,
    _best_metric,
    problems_with_sweep,
    _evaluations_to_stop_by,
    _steps,
    _reference_batch,
    _sampler,
})  # fmt: skip
_ABOUT_DATA = frozenset({wrong_kind_of_data, _coco_files, _two_ways_to_validate, _architecture})
_ABOUT_INFERENCE = frozenset({_nothing_to_resume})
