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

# detectron2 or pycocotools would stop at these, some of them only at the first evaluation.
_ERRORS = {
    "category.malformed": "{count} categories lack a whole-number id or a name ({examples}). Give them both",
    "category.duplicate_id": "{count} categories repeat the id of another one ({examples}). Give each its own",
    "image.malformed": "{count} images lack an id, file_name, width or height ({examples}). Complete them",
    "image.mixed_ids": "{count} of {num_images} image ids are text and the others numbers ({examples}). "
    "Give all images ids of one kind",
    "image.duplicate_id": "{count} images repeat the id of another one ({examples}). Give each its own",
    "image.no_file": "{count} of {num_images} images have no file in {images} ({examples}). "
    "Set dataset.{split}.images to the folder that holds them",
    "image.unreadable_folder": "the folder of images cannot be read ({examples})",
    "image.not_a_file": "{count} of {num_images} images are no files ({examples}). Remove them from the folder",
    "annotation.malformed": "{count} annotations lack an id ({examples}). Number them",
    "annotation.duplicate_id": "{count} annotations repeat the id of another one ({examples}). Give each its own",
    "annotation.iscrowd": "{count} annotations have an `iscrowd` that is neither 0 nor 1 ({examples})",
    "annotation.unknown_image": "{count} annotations belong to no image of the file ({examples}). "
    "Remove them or add the images",
    "annotation.unknown_category": "{count} annotations have a category that the file does not define ({examples}). "
    "Add it to categories",
    "annotation.ignore": "{count} annotations are marked `ignore`, which detectron2 refuses ({examples}). "
    "Remove them or mark them iscrowd: 1",
    "box.malformed": "{count} annotations have no bbox of four numbers [x, y, width, height] ({examples})",
    "mask.malformed": "{count} segmentations are neither lists of polygons nor an RLE ({examples})",
    "rle.malformed": "{count} segmentations are broken RLEs ({examples}). Export them again",
    "keypoints.malformed": "{count} annotations have keypoints that are no list of numbers ({examples})",
}
# The key that makes it matter, and the message.
_MODEL_ERRORS = {
    "polygon.malformed": (
        "MODEL.MASK_ON",
        "{count} annotations have polygons with something else than finite numbers ({examples}). Fix or remove them",
    ),
    "polygon.far": (
        "MODEL.MASK_ON",
        "{count} annotations have polygons far beyond any image ({examples}): are they in map coordinates or at "
        "another scale? COCO's are in pixels of the image",
    ),
    "rle.size": (
        "MODEL.MASK_ON",
        "{count} masks (RLE) have another size than their image as listed ({examples}). "
        "An RLE's size is [height, width] of its image: correct it, or the width and height of the image",
    ),
    "keypoints.odd": (
        "MODEL.KEYPOINT_ON",
        "{count} annotations have keypoints that are not three numbers each, x, y and visibility ({examples})",
    ),
    "keypoints.not_finite": (
        "MODEL.KEYPOINT_ON",
        "{count} annotations have keypoints with something else than finite numbers ({examples}). "
        "Write 0, 0, 0 for what cannot be seen",
    ),
}
_NUMBER_THEM = (
    "To number them from 1, type: "
    """python -c "import json, sys; f = sys.argv[1]; d = json.load(open(f)); """
    """[a.update(id=n) for n, a in enumerate(d['annotations'], 1)]; json.dump(d, open(f, 'w'))" {json} """
    "(which rewrites that file)"
)
# For a file that is evaluated on: (the key that makes it matter, or none; the message) by flaw.
_EVALUATION_ERRORS = {
    "annotation.not_for_evaluation": (
        "",
        "{count} annotations lack `area` or `iscrowd` ({examples}), which COCO evaluation reads. Add them",
    ),
    "annotation.id_zero": (
        "",
        "an annotation has id 0, which COCO evaluation takes for `not found`: the AP would be too low. " + _NUMBER_THEM,
    ),
    "annotation.text_id": (
        "",
        "{count} annotations have an id that is text ({examples}), and COCO evaluation needs numbers. " + _NUMBER_THEM,
    ),
    "area.ignored": (
        "",
        "{count} annotations have an `area` below 0 or above 10^10 ({examples}), and COCO evaluation leaves "
        "such objects out. It is in pixels: correct it",
    ),
    "area.zero": (
        "MODEL.KEYPOINT_ON",
        "{count} annotations have the `area` 0 ({examples}), which keypoints are measured by: the AP would be too low. "
        "Write their areas in pixels",
    ),
    "annotation.id_too_large": (
        "",
        "{count} annotations have an id that does not fit 64 bits ({examples}), which COCO evaluation needs. "
        + _NUMBER_THEM,
    ),
    "image.id_too_large": (
        "",
        "{count} of {num_images} images have an id that does not fit 64 bits ({examples}), which COCO evaluation "
        "needs. Number them",
    ),
    "category.duplicate_name": (
        "",
        "{count} categories repeat the name of another one ({examples}), so that the AP of one would replace the "
        "other's. Give each its own",
    ),
    "image.fractional_size": (
        "MODEL.MASK_ON",
        "{count} of {num_images} images have a width or height with a decimal point ({examples}), "
        "and masks are evaluated on whole pixels. Write whole numbers, such as 64 for 64.0",
    ),
    "mask.not_for_evaluation": (
        "MODEL.MASK_ON",
        "{count} annotations, crowds included, have a segmentation that evaluating masks stops at ({examples}): none, "
        "or a first polygon of less than three points. Fix or remove them",
    ),
    "keypoints.not_for_evaluation": (
        "MODEL.KEYPOINT_ON",
        "{count} annotations, crowds included, lack `keypoints` or `num_keypoints` ({examples}), "
        "which evaluating keypoints reads. Add them",
    ),
}
_NOTICES = {
    "area.zero": "{count} annotations have the `area` 0 ({examples}): COCO evaluation counts them as small ones "
    "in APs, APm and APl",
    "area.too_large": "{count} annotations have an `area` larger than their bbox ({examples}): APs, APm and APl go by "
    "it. It is in pixels of the image",
    "box.degenerate": "{count} of {num_objects} boxes have no area or are not finite numbers ({examples})",
    "mask.no_polygon": "{count} objects have no polygon of three points, detectron2 leaves them out ({examples})",
    "polygon.left_out": "{count} objects have, beside others, polygons of fewer than three points or of an odd "
    "number of coordinates, which detectron2 leaves out ({examples})",
    "keypoints.visibility": "{count} annotations have a visibility that is not 0, 1 or 2 ({examples})",
    "image.too_many_pixels": "{count} images have more pixels than Pillow opens, 179 million ({examples}). "
    "Cut or shrink them",
    "image.wide": "{count} of the {num_headers} images looked into have more than 8 bits per value ({examples}): "
    "16-bit values are divided by 257, floats up to 1 multiplied by 255",
    "image.other_size": "{count} of the {num_headers} images looked into have another size than listed ({examples}), "
    "which detectron2 refuses",
}
_ABOUT_EVALUATION = ("area.zero", "area.too_large")


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
            f"{setting_of(coco)}: {_say(_NOTICES[flaw.code], flaw, coco)}"
            for flaw in coco.flaws
            if flaw.code in _NOTICES and (_is_in(keys, "TEST", coco) or flaw.code not in _ABOUT_EVALUATION)
        ]
        notices += [f"{setting_of(coco)}: {notice}" for notice in suspicious_notices(coco, keys)]
        if unused := coco.objects.unused_categories:
            notices.append(
                f"{setting_of(coco)}: {len(unused)} of {len(coco.categories)} classes have no objects "
                f"({', '.join(unused[:5])}{', ...' if len(unused) > 5 else ''})"
            )
        without = coco.num_images - coco.objects.num_images
        if _is_in(keys, "TRAIN", coco) and without and keys["DATALOADER.FILTER_EMPTY_ANNOTATIONS"]:
            notices.append(
                f"{setting_of(coco)}: {without} of {coco.num_images} images have no objects and are left out "
                "(DATALOADER.FILTER_EMPTY_ANNOTATIONS=False keeps them)"
            )
    return [*notices, *_notices_about_own(facts)]


def setting_of(coco: CocoFacts) -> str:
    return f"dataset.{coco.split}.json={coco.json}"


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
    problems = [_say(_ERRORS[flaw.code], flaw, coco) for flaw in coco.flaws if flaw.code in _ERRORS]
    problems += _problems_with_model(coco, keys)
    problems += _problems_with_content(coco, keys)
    problems += suspicious_problems(coco, keys)
    problems += _problems_with_evaluation(coco, keys)
    problems += _problems_with_masks(coco, keys)
    problems += _problems_with_keypoints(coco, keys)
    return problems


def _problems_with_model(coco: CocoFacts, keys: Keys) -> list[str]:
    """What only stops models that learn masks or keypoints."""
    matter = [(flaw, *_MODEL_ERRORS[flaw.code]) for flaw in coco.flaws if flaw.code in _MODEL_ERRORS]
    return [_say(message, flaw, coco) for flaw, switch, message in matter if keys[switch]]


def _how_to_get(coco: CocoFacts) -> str:
    folder = os.path.dirname(coco.json)
    if coco.name == f"demo_{coco.split}" and os.path.basename(coco.json) == f"{coco.split}.json":
        return f"The demo data is made with: launcher data demo {folder}"
    return f"Set dataset.{coco.split}.json to a COCO-format file"


def _is_in(keys: Keys, part: str, coco: CocoFacts) -> bool:
    return coco.name in names_in(keys, part)


def _problems_with_content(coco: CocoFacts, keys: Keys) -> list[str]:
    problems = []
    flaws = {flaw.code: flaw for flaw in coco.flaws}
    if not coco.categories:
        problems.append("it defines no categories, so there is nothing to learn. Add them")
    if not coco.num_images:
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
    return problems


def _count_of(code: str, flaws: Mapping[str, Flaw]) -> int:
    return flaws[code].count if code in flaws else 0


def _problems_with_evaluation(coco: CocoFacts, keys: Keys) -> list[str]:
    if not _is_in(keys, "TEST", coco):
        return []
    problems = []
    for flaw in coco.flaws:
        switch, message = _EVALUATION_ERRORS.get(flaw.code, ("", ""))
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
        split=coco.split,
    )


def _examples(flaw: Flaw) -> str:
    return ", ".join(flaw.examples) + (", ..." if flaw.count > len(flaw.examples) else "")


def _nearest(name: str) -> str:
    return _did_you_mean(difflib.get_close_matches(name, registered_names(), n=3))


def _did_you_mean(nearest: Sequence[str]) -> str:
    return f" (did you mean {', '.join(nearest)}?)" if nearest else ""
