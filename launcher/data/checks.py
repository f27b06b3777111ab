"""What is wrong with a run's data, and how to put it right. Decides only: reads nothing."""

from __future__ import annotations

import difflib
import os.path
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from launcher.config.asked import names_in
from launcher.config.keys import Keys
from launcher.config.known_datasets import Origin, find_registered, registered_names
from launcher.config.own_code import settings_of
from launcher.config.request import RunRequest
from launcher.data.coco_file import CocoFacts
from launcher.data.facts import DatasetFacts, RegisteredFacts
from launcher.data.finding import Finding, Severity
from launcher.data.listed_image import ListedImage
from launcher.data.messages import ABOUT_EVALUATION, ERRORS, EVALUATION_ERRORS, HINTS, MODEL_ERRORS, NOTICES, Message
from launcher.data.suspicions import Suspected, suspect
from launcher.data.tally import Flaw, listed

CLASS_COUNT_KEYS = ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES", "MODEL.POINT_HEAD.NUM_CLASSES")
"""Keys that count classes of things; those that this detectron2 does not have are passed over."""
_UNREAD_CLASS_COUNTS = {
    "GeneralizedRCNN": ("MODEL.RETINANET.NUM_CLASSES",),
    "PanopticFPN": ("MODEL.RETINANET.NUM_CLASSES",),
    "RetinaNet": ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.POINT_HEAD.NUM_CLASSES"),
}
"""Of these keys, those that an architecture never reads; of one that is not here, any may be read."""
IN_BOTH = "image.in_both"
"""The code of images that are trained on and evaluated."""
_SHARED_SHOWN = 3
_UNUSABLE = ("image.damaged", "image.other_size", "image.too_many_pixels")
"""Flaws of images that detectron2 cannot use."""


def findings_about(request: RunRequest, facts: DatasetFacts) -> list[Finding]:
    """What keeps this run from training on this data, and what is reported although it can start."""
    keys = request.keys
    used = [coco for coco in facts.coco if _is_in(keys, "TRAIN", coco) or _is_in(keys, "TEST", coco)]
    errors = [finding for coco in used for finding in _errors_of_file(coco, keys)]
    errors += _errors_between([coco for coco in used if not coco.unreadable])
    errors += _errors_of_registered(facts)
    errors += _errors_of_own(request, facts)
    errors += _errors_of_class_counts(request, facts)
    errors += [one for coco in used for one in _too_many_unusable(coco, keys, request.dataset.max_bad)]
    notices = [finding for coco in facts.coco for finding in _notices_of_file(coco, keys)]
    shared = _shared_images([coco for coco in used if not coco.unreadable], keys)
    return [*errors, *notices, *shared, *_notices_about_own(facts)]


def _notices_of_file(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    for flaw in coco.flaws:
        if flaw.code in ABOUT_EVALUATION and not _is_in(keys, "TEST", coco):
            continue
        if flaw.code in NOTICES:
            yield _of_flaw(NOTICES[flaw.code], flaw, coco, Severity.warning)
        elif flaw.code in HINTS:
            yield _of_flaw(HINTS[flaw.code], flaw, coco, Severity.hint)
    for one in suspect(coco, keys):
        if not one.is_refused:
            yield _of_suspected(one, coco, Severity.warning)
    yield from _notices_about_content(coco, keys)


def _notices_about_content(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    objects = coco.objects
    if unused := objects.unused_categories:
        yield of_file(
            "category.unused",
            coco,
            f"{len(unused)} of {len(coco.categories)} classes have no objects",
            severity=Severity.warning,
            count=len(unused),
            examples=unused[:5],
        )
    if objects.num_crowds > objects.num:
        yield of_file(
            "annotation.mostly_crowds",
            coco,
            f"{objects.num_crowds} annotations are crowds (iscrowd: 1) and {objects.num} are objects: crowds are "
            "neither learnt nor measured. CVAT writes masks so; objects have iscrowd: 0",
            severity=Severity.warning,
            count=objects.num_crowds,
        )
    if not objects.num and _is_in(keys, "TEST", coco):
        yield of_file(
            "val.no_objects",
            coco,
            "there is no object to measure by, so every AP will be NaN",
            "To evaluate nothing, set DATASETS.TEST=[]",
            severity=Severity.warning,
        )
    without = coco.num_images - objects.num_images
    if _is_in(keys, "TRAIN", coco) and without and keys["DATALOADER.FILTER_EMPTY_ANNOTATIONS"]:
        yield of_file(
            "image.no_objects",
            coco,
            f"{without} of {coco.num_images} images have no objects and are left out "
            "(DATALOADER.FILTER_EMPTY_ANNOTATIONS=False keeps them)",
            severity=Severity.hint,
            count=without,
        )


def setting_of(coco: CocoFacts) -> str:
    """What names the file, and the part of it that is meant."""
    if coco.is_registered:
        return f"{coco.name} ({coco.json})"
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


def _errors_of_file(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    if coco.unreadable:
        yield of_file("file.unreadable", coco, coco.unreadable, _how_to_get(coco))
        return
    for flaw in coco.flaws:
        if flaw.code in ERRORS:
            yield _of_flaw(ERRORS[flaw.code], flaw, coco)
    yield from _errors_of_model(coco, keys)
    yield from _errors_of_content(coco, keys)
    for one in suspect(coco, keys):
        if one.is_refused:
            way_out = "Where it is meant so, dataset.check=False trains on it"
            yield _of_suspected(one, coco, Severity.error, way_out)
    yield from _errors_of_evaluation(coco, keys)
    yield from _errors_of_masks(coco, keys)
    if keys["MODEL.KEYPOINT_ON"]:
        yield from _errors_of_keypoints(coco, keys)


def _errors_of_model(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    """What only stops models that learn masks or keypoints."""
    for flaw in coco.flaws:
        switch, message = MODEL_ERRORS.get(flaw.code, ("", None))
        if message and keys[switch]:
            yield _of_flaw(message, flaw, coco)


def _how_to_get(coco: CocoFacts) -> str:
    folder = os.path.dirname(coco.json)
    if coco.name == f"demo_{coco.split}" and os.path.basename(coco.json) == f"{coco.split}.json":
        return f"The demo data is made with: launcher data demo {folder}"
    return f"Set dataset.{_files_of(coco)}.json to a COCO-format file"


def _is_in(keys: Keys, part: str, coco: CocoFacts) -> bool:
    return coco.name in names_in(keys, part)


def _errors_of_content(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    flaws = {flaw.code: flaw for flaw in coco.flaws}
    if not coco.categories:
        yield of_file("category.none", coco, "it defines no categories, so there is nothing to learn", "Add them")
    if not coco.num_images and coco.portion is not None:
        what = (
            "there are none: a file needs two images to be divided (those that Roboflow made of one photograph stay "
            "together)"
        )
        yield of_file("image.none", coco, what, "Leave dataset.val.fraction out")
    elif not coco.num_images:
        yield of_file("image.none", coco, "it lists no images", "Add them")
    yield from _nothing_to_train_on(coco, keys, flaws)
    if 2 * _count_of("image.other_size", flaws) > coco.num_headers:
        yield _of_flaw(NOTICES["image.other_size"], flaws["image.other_size"], coco)


def _nothing_to_train_on(coco: CocoFacts, keys: Keys, flaws: Mapping[str, Flaw]) -> Iterator[Finding]:
    trains, all_objects = _is_in(keys, "TRAIN", coco), max(1, coco.objects.num)
    if trains and not coco.objects.num_images:
        what = "no image has an annotation (crowds do not count), so there is nothing to train on"
        yield of_file("train.no_objects", coco, what, "Is it the right file")
    elif _count_of("box.degenerate", flaws) >= all_objects:
        what = f"all {coco.objects.num} boxes have no area or are not finite numbers ({{examples}})"
        yield _of_flaw(Message(what, "COCO's bbox is [x, y, width, height]"), flaws["box.degenerate"], coco)
    elif trains and _count_of("mask.no_polygon", flaws) >= all_objects:
        what = (
            f"none of the {coco.objects.num} objects has a polygon of three points ({{examples}}), and detectron2 "
            "leaves such objects out"
        )
        yield _of_flaw(Message(what, "Fix the segmentations"), flaws["mask.no_polygon"], coco)


def _too_many_unusable(coco: CocoFacts, keys: Keys, max_bad: int) -> Iterator[Finding]:
    """A training replaces so many images by others, and no more."""
    flaws = {flaw.code: flaw for flaw in coco.flaws}
    unusable = sum(_count_of(code, flaws) for code in _UNUSABLE)
    if coco.is_opened and _is_in(keys, "TRAIN", coco) and unusable > max_bad:
        what = f"{unusable} images cannot be used, and a training replaces {max_bad} by others (dataset.max_bad)"
        fix = f"Repair or remove them, or set dataset.max_bad={unusable}"
        yield of_file("image.unusable", coco, what, fix, count=unusable)


def _count_of(code: str, flaws: Mapping[str, Flaw]) -> int:
    return flaws[code].count if code in flaws else 0


def _errors_of_evaluation(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    if not _is_in(keys, "TEST", coco):
        return
    for flaw in coco.flaws:
        switch, message = EVALUATION_ERRORS.get(flaw.code, ("", None))
        if message and (not switch or keys[switch]):
            yield _of_flaw(message, flaw, coco)


def _errors_of_masks(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    flaw = next((flaw for flaw in coco.flaws if flaw.code == "mask.missing"), None)
    if flaw is not None and keys["MODEL.MASK_ON"]:
        what = "{count} of {num_objects} annotations have no segmentation ({examples}), and the model learns masks"
        yield _of_flaw(Message(what, "To learn boxes only, set MODEL.MASK_ON=False"), flaw, coco)


def _errors_of_keypoints(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    objects, off = coco.objects, "set MODEL.KEYPOINT_ON=False"
    if not objects.num_with_keypoints:
        what = "no annotation has keypoints, and the model learns them"
        yield of_file("keypoints.none", coco, what, "Set MODEL.KEYPOINT_ON=False")
        return
    if not objects.num_with_visible:
        what = (
            "no object has a visible keypoint (all visibilities are 0), so there is nothing to learn or measure. "
            "Write 2 for those that can be seen, or " + off
        )
        yield of_file("keypoints.none_visible", coco, what)
    if without := objects.num - objects.num_with_keypoints:
        what = f"{without} of {objects.num} annotations have no keypoints, and the model learns them"
        fix = f"Give every annotation keypoints (0, 0, 0 for each that cannot be seen), or {off}"
        yield of_file("keypoints.missing", coco, what, fix, count=without)
    yield from _errors_of_keypoint_numbers(coco, keys)


def _errors_of_keypoint_numbers(coco: CocoFacts, keys: Keys) -> Iterator[Finding]:
    numbers, named = coco.objects.keypoints_per_object, len(coco.keypoint_names)
    if len(numbers) > 1:
        what = f"objects have different numbers of keypoints ({', '.join(map(str, numbers))})"
        yield of_file("keypoints.different_numbers", coco, what, "Give all the same")
    elif named != numbers[0]:
        what = f"objects have {numbers[0]} keypoints, but the categories name {named}"
        yield of_file("keypoints.names", coco, what, "Add the list `keypoints` of names to the category")
    sigmas = keys["TEST.KEYPOINT_OKS_SIGMAS"]
    if _is_in(keys, "TEST", coco) and (len(sigmas) or 17) != numbers[0]:
        what = (
            f"evaluating {numbers[0]} keypoints needs as many numbers in TEST.KEYPOINT_OKS_SIGMAS, "
            f"which has {len(sigmas) or 'the 17 of COCO persons'}"
        )
        yield of_file("keypoints.sigmas", coco, what, "Set it, or evaluate nothing: DATASETS.TEST=[]")


def _errors_between(files: Sequence[CocoFacts]) -> Iterator[Finding]:
    if len(files) < 2 or files[0].categories == files[1].categories:
        return
    ours, theirs = (set(coco.categories) for coco in files)
    only = [
        f"only in {coco.split}: " + ", ".join(f"{number} {name}" for number, name in sorted(difference)[:5])
        for coco, difference in zip(files, (ours - theirs, theirs - ours), strict=True)
        if difference
    ]
    yield of_run(
        "category.different",
        f"the categories of dataset.train.json and dataset.val.json differ ({'; '.join(only)})",
        "Give both files the same categories with the same ids",
    )


def _shared_images(files: Sequence[CocoFacts], keys: Keys) -> Iterator[Finding]:
    """Image files that are trained on and evaluated; other files with the same pixels are found by opening them."""
    trained = [coco for coco in files if _is_in(keys, "TRAIN", coco)]
    # A file in both was asked for.
    evaluated = [coco for coco in files if not _is_in(keys, "TRAIN", coco) and _is_in(keys, "TEST", coco)]
    # Names first: COCO has a hundred thousand paths to be made of them otherwise.
    names = {os.path.basename(one.file_name) for coco in evaluated for one in coco.listed}
    paths = {_path(coco, one) for coco in trained for one in coco.listed if os.path.basename(one.file_name) in names}
    for coco in evaluated:
        same = [one.file_name for one in coco.listed if _path(coco, one) in paths]
        if same:
            what = f"{len(same)} of {coco.num_images} images that are evaluated are trained on too: the AP is too high"
            fix = "Remove them from one of the files"
            yield of_file(
                IN_BOTH, coco, what, fix, severity=Severity.warning, count=len(same), examples=same[:_SHARED_SHOWN]
            )


def _path(coco: CocoFacts, image: ListedImage) -> str:
    return os.path.normpath(os.path.join(coco.images, image.file_name))


def _errors_of_registered(facts: DatasetFacts) -> Iterator[Finding]:
    # Train and val of one data set come from the same place, so the way to get it is reported once for both.
    by_origin: dict[Origin, list[RegisteredFacts]] = {}
    for entry in facts.registered:
        known = find_registered(entry.name)
        if known and entry.missing:
            by_origin.setdefault(known.origin, []).append(entry)
    yield from (_missing_files(origin, entries, facts.root) for origin, entries in by_origin.items())

    packages = dict.fromkeys(package for entry in facts.registered for package in entry.missing_packages)
    if packages:
        names = ", ".join(entry.name for entry in facts.registered if entry.missing_packages)
        what = f"{names}: needs packages that are not installed"
        yield of_run("dataset.packages", what, f"Run: pip install {' '.join(packages)}")


def _errors_of_own(request: RunRequest, facts: DatasetFacts) -> Iterator[Finding]:
    own = facts.own_code
    if own is None or own.needs_gpu:
        return
    for entry in facts.registered:
        if not entry.known and entry.name not in own.registered:
            near = difflib.get_close_matches(entry.name, (*own.registered, *registered_names()), n=3)
            what = (
                f"DATASETS names {entry.name}, which neither detectron2 nor {settings_of(own.asked)} registers"
                f"{_did_you_mean(near)}"
            )
            fix = "Register it with DatasetCatalog.register, in a module that imports names"
            yield of_run("dataset.unregistered", what, fix)
    for name, one in own.data_sets.items():
        if one.unreadable:
            what = f"DATASETS names {name}, and its annotations cannot be read ({one.unreadable})"
            yield of_run("file.unreadable", what, "Correct its registration")
    yield from _errors_between_own(request, own_classes(facts))


def _errors_between_own(request: RunRequest, classes: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    train = [name for name in names_in(request.keys, "TRAIN") if name in classes]
    for name in names_in(request.keys, "TEST"):
        # Other numbers of classes are reported as such.
        if train and name in classes and _same_number_otherwise_named(classes[train[0]], classes[name]):
            index, ours, theirs = next(
                (number, *pair)
                for number, pair in enumerate(zip(classes[train[0]], classes[name], strict=True))
                if pair[0] != pair[1]
            )
            what = (
                f"the classes of {train[0]} and {name} differ (class {index} is {ours!r} in one and {theirs!r} in the "
                "other)"
            )
            yield of_run("category.different", what, "Give both the same thing_classes in the same order")


def _same_number_otherwise_named(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    return len(ours) == len(theirs) and tuple(ours) != tuple(theirs)


def _notices_about_own(facts: DatasetFacts) -> Iterator[Finding]:
    own = facts.own_code
    if own is not None and own.needs_gpu:
        what = (
            f"{own.needs_gpu}. Nothing that {settings_of(own.asked)} registers is checked, and without a GPU the "
            "training fails"
        )
        yield of_run("dataset.needs_gpu", what, severity=Severity.warning)
        return
    for name in (entry.name for entry in facts.registered if not entry.known):
        where = f"DATASETS names {name}, which"
        if own is None:
            what = f"{where} is none of detectron2's own data sets{_nearest(name)}: it is not checked"
            fix = "Name the module that registers it with imports=[MODULE]"
            yield of_run("dataset.unknown", what, fix, severity=Severity.warning)
        elif (one := own.data_sets.get(name)) and one.classes is None and not (one.is_semantic or one.unreadable):
            what = (
                f"{where} has no thing_classes when it is registered, so the model's number of classes does not follow "
                "it"
            )
            fix = f"Set MetadataCatalog.get({name!r}).thing_classes there"
            yield of_run("dataset.no_classes", what, fix, severity=Severity.warning)


def _missing_files(origin: Origin, entries: Sequence[RegisteredFacts], root: str) -> Finding:
    names = ", ".join(entry.name for entry in entries)
    missing = tuple(dict.fromkeys(path for entry in entries for path in entry.missing))
    what = f"{names} ({origin.title}): missing {', '.join(missing)}"
    fix = (
        f"To get it, {origin.how_to_get.replace('<root>', root)}. "
        "If it is elsewhere, set dataset.root=FOLDER or the environment variable DETECTRON2_DATASETS"
    )
    return of_run("dataset.missing", what, fix)


def _errors_of_class_counts(request: RunRequest, facts: DatasetFacts) -> Iterator[Finding]:
    keys = request.keys
    train = known_class_counts(facts, names_in(keys, "TRAIN"))
    if len(set(train.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in train.items())
        what = f"DATASETS.TRAIN mixes different numbers of classes ({counts})"
        yield of_run("class_count.mixed", what, "Train on data with the same classes")
        return
    count = class_count(request, facts)
    if count is None:
        return

    named = ", ".join(train)
    for key, asked in existing_class_count_keys(keys).items():
        if asked != count and typed(request.typed.overrides, key):
            what = f"class count does not match: {key}={asked}, but {named} has {count} classes"
            yield of_run("class_count.typed", what, f"Leave {key} out, it is set from the data")
    for name, other in known_class_counts(facts, names_in(keys, "TEST")).items():
        # A coco_json pair with other categories has been reported in more detail.
        if other != count and not {name, *train} <= {coco.name for coco in facts.coco}:
            what = f"DATASETS.TEST names {name} with {other} classes, but the training data ({named}) has {count}"
            yield of_run("class_count.test", what, "Evaluate on data with the same classes")


def of_run(
    code: str,
    what: str,
    fix: str = "",
    *,
    severity: Severity = Severity.error,
    count: int = 0,
    examples: Sequence[str] = (),
) -> Finding:
    """Of no single file."""
    return Finding(
        code=code,
        severity=severity,
        where="",
        data_set="",
        what=what,
        text=_with_examples(what, count, examples),
        fix=fix,
        count=count,
        examples=tuple(examples),
    )


def of_file(
    code: str,
    coco: CocoFacts,
    what: str,
    fix: str = "",
    *,
    severity: Severity = Severity.error,
    count: int = 0,
    examples: Sequence[str] = (),
) -> Finding:
    """Of a file as a whole."""
    found = of_run(code, what, fix, severity=severity, count=count, examples=examples)
    return replace(found, where=setting_of(coco), data_set=coco.split)


def _with_examples(what: str, count: int, examples: Sequence[str]) -> str:
    return f"{what} ({listed(examples, count)})" if examples else what


def _of_flaw(message: Message, flaw: Flaw, coco: CocoFacts, severity: Severity = Severity.error) -> Finding:
    """Of single entries."""
    values = {
        "count": flaw.count,
        "num_images": coco.num_images,
        "num_objects": coco.objects.num,
        "images": coco.images,
        "num_headers": coco.num_headers,
        "json": shlex.quote(coco.json),
        "split": _files_of(coco),
    }
    return Finding(
        code=flaw.code,
        severity=severity,
        where=setting_of(coco),
        data_set=coco.split,
        what=message.without_examples.format(**values),
        text=message.what.format(examples=listed(flaw.examples, flaw.count), **values),
        fix=message.fix.format(**values),
        count=flaw.count,
        examples=flaw.examples,
    )


def _of_suspected(one: Suspected, coco: CocoFacts, severity: Severity, fix: str = "") -> Finding:
    return Finding(
        code=one.flaw.code,
        severity=severity,
        where=setting_of(coco),
        data_set=coco.split,
        what=one.what,
        text=f"{one.what} ({listed(one.flaw.examples, one.flaw.count, '; ')})",
        fix=fix,
        count=one.flaw.count,
        examples=one.flaw.examples,
    )


def _nearest(name: str) -> str:
    return _did_you_mean(difflib.get_close_matches(name, registered_names(), n=3))


def _did_you_mean(nearest: Sequence[str]) -> str:
    return f" (did you mean {', '.join(nearest)}?)" if nearest else ""
