"""What is wrong with a run's data, and how to put it right. Decides only: reads nothing."""

from __future__ import annotations

import difflib
import os.path
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.config.asked import names_in
from launcher.config.keys import Keys
from launcher.config.known_datasets import Origin, find_registered, registered_names
from launcher.config.own_code import settings_of
from launcher.config.request import RunRequest
from launcher.data.coco_file import CocoFacts
from launcher.data.facts import DatasetFacts, RegisteredFacts
from launcher.data.messages import ABOUT_EVALUATION, ERRORS, EVALUATION_ERRORS, MODEL_ERRORS, NOTICES
from launcher.data.suspicions import suspicious_notices, suspicious_problems
from launcher.data.tally import Flaw

CLASS_COUNT_KEYS = ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES", "MODEL.POINT_HEAD.NUM_CLASSES")
"""Keys that count classes of things; those that this detectron2 does not have are passed over."""
_UNREAD_CLASS_COUNTS = {
    "GeneralizedRCNN": ("MODEL.RETINANET.NUM_CLASSES",),
    "PanopticFPN": ("MODEL.RETINANET.NUM_CLASSES",),
    "RetinaNet": ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.POINT_HEAD.NUM_CLASSES"),
}
"""Of these keys, those that an architecture never reads; of one that is not here, any may be read."""


def problems_with(request: RunRequest, facts: DatasetFacts) -> list[str]:
    """Everything that keeps this run from training on this data, each with what to do."""
    keys = request.keys
    problems = []
    used = [coco for coco in facts.coco if _is_in(keys, "TRAIN", coco) or _is_in(keys, "TEST", coco)]
    for coco in used:
        problems += [f"{setting_of(coco)}: {problem}" for problem in _problems_with_file(coco, keys)]
    readable = [coco for coco in used if not coco.unreadable]
    problems += _problems_between(readable)
    problems += _problems_with_registered(facts)
    problems += _problems_with_own(request, facts)
    problems += _problems_with_class_counts(request, facts)
    return problems


def notices_about(facts: DatasetFacts, keys: Keys) -> list[str]:
    """What is reported although the run can start."""
    notices = []
    for coco in facts.coco:
        notices += [
            f"{setting_of(coco)}: {_say(NOTICES[flaw.code], flaw, coco)}"
            for flaw in coco.flaws
            if flaw.code in NOTICES and (_is_in(keys, "TEST", coco) or flaw.code not in ABOUT_EVALUATION)
        ]
        notices += [f"{setting_of(coco)}: {notice}" for notice in suspicious_notices(coco, keys)]
        notices += [f"{setting_of(coco)}: {notice}" for notice in _notices_about_content(coco, keys)]
    return [*notices, *_notices_about_own(facts)]


def _notices_about_content(coco: CocoFacts, keys: Keys) -> Iterator[str]:
    objects = coco.objects
    if unused := objects.unused_categories:
        names = ", ".join(unused[:5]) + (", ..." if len(unused) > 5 else "")
        yield f"{len(unused)} of {len(coco.categories)} classes have no objects ({names})"
    if objects.num_crowds > objects.num:
        yield (
            f"{objects.num_crowds} annotations are crowds (iscrowd: 1) and {objects.num} are objects: crowds are "
            "neither learnt nor measured. CVAT writes masks so; objects have iscrowd: 0"
        )
    if not objects.num and _is_in(keys, "TEST", coco):
        yield "there is no object to measure by, so every AP will be NaN. To evaluate nothing, set DATASETS.TEST=[]"
    without = coco.num_images - objects.num_images
    if _is_in(keys, "TRAIN", coco) and without and keys["DATALOADER.FILTER_EMPTY_ANNOTATIONS"]:
        yield (
            f"{without} of {coco.num_images} images have no objects and are left out "
            "(DATALOADER.FILTER_EMPTY_ANNOTATIONS=False keeps them)"
        )


def setting_of(coco: CocoFacts) -> str:
    part = "" if coco.portion is None else f" (its images for {'validation' if coco.portion.is_val else 'training'})"
    return f"dataset.{_files_of(coco)}.json={coco.json}{part}"


def _files_of(coco: CocoFacts) -> str:
    """The split whose settings name its files."""
    return coco.split if coco.portion is None else "train"


def typed(overrides: Sequence[str], setting: str) -> bool:
    """Whether the command line itself sets this key."""
    return any(override.lstrip("+").partition("=")[0].strip() == setting for override in overrides)


def known_class_counts(facts: DatasetFacts, names: Sequence[str]) -> dict[str, int]:
    """Classes of things by registered name, for those names whose count is known."""
    counts = {coco.name: len(coco.categories) for coco in facts.coco if not coco.unreadable}
    counts |= {name: len(classes) for name, classes in own_classes(facts).items()}
    for name in names:
        entry = find_registered(name)
        if entry and entry.num_classes is not None:
            counts[name] = entry.num_classes
    return {name: counts[name] for name in names if name in counts}


def own_classes(facts: DatasetFacts) -> dict[str, tuple[str, ...]]:
    """The names of classes by data set, for those that the user's code registers with any."""
    found = facts.own_code.data_sets.items() if facts.own_code else ()
    return {name: one.classes for name, one in found if one.classes}


def class_count(request: RunRequest, facts: DatasetFacts) -> int | None:
    """The number of classes that the training data has, where it is known and unique."""
    counts = set(known_class_counts(facts, names_in(request.keys, "TRAIN")).values())
    return counts.pop() if len(counts) == 1 else None


def existing_class_count_keys(keys: Keys) -> dict[str, Any]:
    """The keys that count classes, as far as they exist and the model reads them, with their values."""
    unread = _UNREAD_CLASS_COUNTS.get(keys["MODEL.META_ARCHITECTURE"], ())
    return {name: keys[name] for name in CLASS_COUNT_KEYS if name in keys and name not in unread}


def _problems_with_file(coco: CocoFacts, keys: Keys) -> list[str]:
    if coco.unreadable:
        return [f"{coco.unreadable}. {_how_to_get(coco)}"]
    problems = [_say(ERRORS[flaw.code], flaw, coco) for flaw in coco.flaws if flaw.code in ERRORS]
    problems += _problems_with_model(coco, keys)
    problems += _problems_with_content(coco, keys)
    problems += suspicious_problems(coco, keys)
    problems += _problems_with_evaluation(coco, keys)
    problems += _problems_with_masks(coco, keys)
    problems += _problems_with_keypoints(coco, keys)
    return problems


def _problems_with_model(coco: CocoFacts, keys: Keys) -> list[str]:
    """What only stops models that learn masks or keypoints."""
    matter = [(flaw, *MODEL_ERRORS[flaw.code]) for flaw in coco.flaws if flaw.code in MODEL_ERRORS]
    return [_say(message, flaw, coco) for flaw, switch, message in matter if keys[switch]]


def _how_to_get(coco: CocoFacts) -> str:
    folder = os.path.dirname(coco.json)
    if coco.name == f"demo_{coco.split}" and os.path.basename(coco.json) == f"{coco.split}.json":
        return f"The demo data is made with: launcher data demo {folder}"
    return f"Set dataset.{_files_of(coco)}.json to a COCO-format file"


def _is_in(keys: Keys, part: str, coco: CocoFacts) -> bool:
    return coco.name in names_in(keys, part)


def _problems_with_content(coco: CocoFacts, keys: Keys) -> list[str]:
    problems = []
    flaws = {flaw.code: flaw for flaw in coco.flaws}
    if not coco.categories:
        problems.append("it defines no categories, so there is nothing to learn. Add them")
    if not coco.num_images and coco.portion is not None:
        problems.append(
            "there are none: a file needs two images to be divided (those that Roboflow made of one photograph stay "
            "together). Leave dataset.val.fraction out"
        )
    elif not coco.num_images:
        problems.append("it lists no images. Add them")
    if _is_in(keys, "TRAIN", coco) and not coco.objects.num_images:
        problems.append(
            "no image has an annotation (crowds do not count), so there is nothing to train on. Is it the right file"
        )
    elif _count_of("box.degenerate", flaws) >= max(1, coco.objects.num):
        problems.append(
            f"all {coco.objects.num} boxes have no area or are not finite numbers "
            f"({_examples(flaws['box.degenerate'])}). COCO's bbox is [x, y, width, height]"
        )
    elif _is_in(keys, "TRAIN", coco) and _count_of("mask.no_polygon", flaws) >= max(1, coco.objects.num):
        problems.append(
            f"none of the {coco.objects.num} objects has a polygon of three points "
            f"({_examples(flaws['mask.no_polygon'])}), and detectron2 leaves such objects out. Fix the segmentations"
        )
    if 2 * _count_of("image.other_size", flaws) > coco.num_headers:
        problems.append(
            _say(NOTICES["image.other_size"] + ". Correct width and height", flaws["image.other_size"], coco)
        )
    return problems


def _count_of(code: str, flaws: Mapping[str, Flaw]) -> int:
    return flaws[code].count if code in flaws else 0


def _problems_with_evaluation(coco: CocoFacts, keys: Keys) -> list[str]:
    if not _is_in(keys, "TEST", coco):
        return []
    problems = []
    for flaw in coco.flaws:
        switch, message = EVALUATION_ERRORS.get(flaw.code, ("", ""))
        if message and (not switch or keys[switch]):
            problems.append(_say(message, flaw, coco))
    return problems


def _problems_with_masks(coco: CocoFacts, keys: Keys) -> list[str]:
    flaw = next((flaw for flaw in coco.flaws if flaw.code == "mask.missing"), None)
    if flaw is None or not keys["MODEL.MASK_ON"]:
        return []
    return [
        f"{flaw.count} of {coco.objects.num} annotations have no segmentation ({_examples(flaw)}), "
        "and the model learns masks. To learn boxes only, set MODEL.MASK_ON=False"
    ]


def _problems_with_keypoints(coco: CocoFacts, keys: Keys) -> list[str]:
    if not keys["MODEL.KEYPOINT_ON"]:
        return []
    if not coco.objects.num_with_keypoints:
        return ["no annotation has keypoints, and the model learns them. Set MODEL.KEYPOINT_ON=False"]
    problems = []
    if not coco.objects.num_with_visible:
        problems.append(
            "no object has a visible keypoint (all visibilities are 0), so there is nothing to learn or measure. "
            "Write 2 for those that can be seen, or set MODEL.KEYPOINT_ON=False"
        )
    if without := coco.objects.num - coco.objects.num_with_keypoints:
        problems.append(
            f"{without} of {coco.objects.num} annotations have no keypoints, and the model learns them. Give every "
            "annotation keypoints (0, 0, 0 for each that cannot be seen), or set MODEL.KEYPOINT_ON=False"
        )
    if len(coco.objects.keypoints_per_object) > 1:
        numbers = ", ".join(map(str, coco.objects.keypoints_per_object))
        problems.append(f"objects have different numbers of keypoints ({numbers}). Give all the same")
    elif len(coco.keypoint_names) != coco.objects.keypoints_per_object[0]:
        problems.append(
            f"objects have {coco.objects.keypoints_per_object[0]} keypoints, but the categories name "
            f"{len(coco.keypoint_names)}. Add the list `keypoints` of names to the category"
        )
    sigmas, number = keys["TEST.KEYPOINT_OKS_SIGMAS"], coco.objects.keypoints_per_object[0]
    if _is_in(keys, "TEST", coco) and (len(sigmas) or 17) != number:
        problems.append(
            f"evaluating {number} keypoints needs as many numbers in TEST.KEYPOINT_OKS_SIGMAS, "
            f"which has {len(sigmas) or 'the 17 of COCO persons'}. Set it, or evaluate nothing: DATASETS.TEST=[]"
        )
    return problems


def _problems_between(files: Sequence[CocoFacts]) -> list[str]:
    if len(files) < 2 or files[0].categories == files[1].categories:
        return []
    ours, theirs = (set(coco.categories) for coco in files)
    only = [
        f"only in {coco.split}: " + ", ".join(f"{number} {name}" for number, name in sorted(difference)[:5])
        for coco, difference in zip(files, (ours - theirs, theirs - ours), strict=True)
        if difference
    ]
    return [
        f"the categories of dataset.train.json and dataset.val.json differ ({'; '.join(only)}). "
        "Give both files the same categories with the same ids"
    ]


def _problems_with_registered(facts: DatasetFacts) -> list[str]:
    # Train and val of one data set come from the same place, so the way to get it is reported once for both.
    by_origin: dict[Origin, list[RegisteredFacts]] = {}
    for entry in facts.registered:
        known = find_registered(entry.name)
        if known and entry.missing:
            by_origin.setdefault(known.origin, []).append(entry)
    problems = [_say_missing(origin, entries, facts.root) for origin, entries in by_origin.items()]

    packages = dict.fromkeys(package for entry in facts.registered for package in entry.missing_packages)
    if packages:
        names = ", ".join(entry.name for entry in facts.registered if entry.missing_packages)
        problems.append(f"{names}: needs packages that are not installed. Run: pip install {' '.join(packages)}")
    return problems


def _problems_with_own(request: RunRequest, facts: DatasetFacts) -> Iterator[str]:
    own = facts.own_code
    if own is None or own.needs_gpu:
        return
    for entry in facts.registered:
        if not entry.known and entry.name not in own.registered:
            near = difflib.get_close_matches(entry.name, (*own.registered, *registered_names()), n=3)
            yield (
                f"DATASETS names {entry.name}, which neither detectron2 nor {settings_of(own.asked)} registers"
                f"{_did_you_mean(near)}. Register it with DatasetCatalog.register, in a module that imports names"
            )
    yield from (
        f"DATASETS names {name}, and its annotations cannot be read ({one.unreadable}). Correct its registration"
        for name, one in own.data_sets.items()
        if one.unreadable
    )
    yield from _problems_between_own(request, own_classes(facts))


def _problems_between_own(request: RunRequest, classes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    train = [name for name in names_in(request.keys, "TRAIN") if name in classes]
    for name in names_in(request.keys, "TEST"):
        # Other numbers of classes are reported as such.
        if train and name in classes and _same_number_otherwise_named(classes[train[0]], classes[name]):
            index, ours, theirs = next(
                (number, *pair)
                for number, pair in enumerate(zip(classes[train[0]], classes[name], strict=True))
                if pair[0] != pair[1]
            )
            yield (
                f"the classes of {train[0]} and {name} differ (class {index} is {ours!r} in one and {theirs!r} in the "
                "other). Give both the same thing_classes in the same order"
            )


def _same_number_otherwise_named(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    return len(ours) == len(theirs) and tuple(ours) != tuple(theirs)


def _notices_about_own(facts: DatasetFacts) -> Iterator[str]:
    own = facts.own_code
    if own is not None and own.needs_gpu:
        yield (
            f"{own.needs_gpu}. Nothing that {settings_of(own.asked)} registers is checked, and without a GPU the "
            "training fails"
        )
        return
    for name in (entry.name for entry in facts.registered if not entry.known):
        where = f"DATASETS names {name}, which"
        if own is None:
            yield (
                f"{where} is none of detectron2's own data sets{_nearest(name)}: it is not checked. Name the module "
                "that registers it with imports=[MODULE]"
            )
        elif (one := own.data_sets.get(name)) and one.classes is None and not (one.is_semantic or one.unreadable):
            yield (
                f"{where} has no thing_classes when it is registered, so the model's number of classes does not follow "
                f"it. Set MetadataCatalog.get({name!r}).thing_classes there"
            )


def _say_missing(origin: Origin, entries: Sequence[RegisteredFacts], root: str) -> str:
    names = ", ".join(entry.name for entry in entries)
    missing = ", ".join(dict.fromkeys(path for entry in entries for path in entry.missing))
    return (
        f"{names} ({origin.title}): missing {missing}. To get it, {origin.how_to_get.replace('<root>', root)}. "
        "If it is elsewhere, set dataset.root=FOLDER or the environment variable DETECTRON2_DATASETS"
    )


def _problems_with_class_counts(request: RunRequest, facts: DatasetFacts) -> list[str]:
    keys = request.keys
    train = known_class_counts(facts, names_in(keys, "TRAIN"))
    if len(set(train.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in train.items())
        return [f"DATASETS.TRAIN mixes different numbers of classes ({counts}). Train on data with the same classes"]
    count = class_count(request, facts)
    if count is None:
        return []

    named = ", ".join(train)
    problems = [
        f"class count does not match: {key}={asked}, but {named} has {count} classes. "
        f"Leave {key} out, it is set from the data"
        for key, asked in existing_class_count_keys(keys).items()
        if asked != count and typed(request.typed.overrides, key)
    ]
    problems += [
        f"DATASETS.TEST names {name} with {other} classes, but the training data ({named}) has {count}. "
        "Evaluate on data with the same classes"
        for name, other in known_class_counts(facts, names_in(keys, "TEST")).items()
        # A coco_json pair with other categories has been reported in more detail.
        if other != count and not {name, *train} <= {coco.name for coco in facts.coco}
    ]
    return problems


def _say(template: str, flaw: Flaw, coco: CocoFacts) -> str:
    return template.format(
        count=flaw.count,
        examples=_examples(flaw),
        num_images=coco.num_images,
        num_objects=coco.objects.num,
        images=coco.images,
        num_headers=coco.num_headers,
        json=shlex.quote(coco.json),
        split=_files_of(coco),
    )


def _examples(flaw: Flaw) -> str:
    return ", ".join(flaw.examples) + (", ..." if flaw.count > len(flaw.examples) else "")


def _nearest(name: str) -> str:
    return _did_you_mean(difflib.get_close_matches(name, registered_names(), n=3))


def _did_you_mean(nearest: Sequence[str]) -> str:
    return f" (did you mean {', '.join(nearest)}?)" if nearest else ""
