"""Reads YOLO's labels, boxes and polygons, as Ultralytics does: `data.yaml`, images, and a text file for each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from launcher.data.convert.images import files_below, images_below, is_image, size_of
from launcher.data.convert.labels import Account, LabelledImage, LabelledObject, Labels, area_of, box_around, has_extent
from launcher.errors import DataError

_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_PARTS = ("train", "val", "test")
_SLACK = 0.01
"""How far beyond the image, as a fraction of it, a box may reach by rounding alone."""


def find_yaml(source: Path) -> Path | None:
    """The file that describes a data set in that folder, or that file itself."""
    if source.is_file():
        return source if source.suffix in (".yaml", ".yml") else None
    named = [source / name for name in _NAMES if (source / name).is_file()]
    return next(iter(named or _describing(source)), None)


def _describing(folder: Path) -> list[Path]:
    return sorted(file for ending in ("*.yaml", "*.yml") for file in folder.glob(ending) if _describes(file))


def _refuse_several(source: Path, taken: Path) -> None:
    """Of files that nobody called data.yaml, none is more likely meant than another."""
    if source.is_dir() and taken.name not in _NAMES and len(several := _describing(source)) > 1:
        raise DataError(
            f"{source} has several data sets: {', '.join(map(str, several))}. Name one of these files in place of the "
            "folder."
        )


def _describes(file: Path) -> bool:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and "names" in content and "train" in content


def read_yolo(source: Path, account: Account) -> Labels:
    """Read a whole data set.

    Raises:
        DataError: its `data.yaml` is missing or does not say what classes or images there are.
    """
    file = find_yaml(source)
    if file is None:
        raise DataError(
            f"{source} has no data.yaml, which says the names of the classes and where the images are. Write one: "
            "train: images/train, val: images/val, names: [NAME, ...]."
        )
    _refuse_several(source, file)
    described = _read_yaml(file, account)
    parts = {part: _read_part(described, part, account) for part in _PARTS if described.images.get(part)}
    _note_unused_labels(described, account)
    if sum(map(len, parts.values())) == 0:
        raise DataError(
            f"{file}: no images are found where train, val and test say ({_said(described)}). Correct them."
        )
    return Labels(parts=parts, categories=tuple(described.names.values()))


@dataclass(frozen=True, kw_only=True)
class _Described:
    """What `data.yaml` says."""

    file: Path
    names: Mapping[int, str]
    images: Mapping[str, tuple[Path, ...]]
    """By part, once each."""
    places: Mapping[str, tuple[Path, ...]]
    """What was named, by part."""
    has_keypoints: int
    """Numbers for the keypoints of each object; 0 where there are none."""


def _said(described: _Described) -> str:
    return ", ".join(f"{part}: {place}" for part, places in described.places.items() for place in places) or "nothing"


def _read_yaml(file: Path, account: Account) -> _Described:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataError(f"{file}{line}: this is no YAML ({error.problem}). Correct it.") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} has no train, val and names. Write them.")
    base = _base_of(file, content, account)
    places = {part: tuple(_places(content.get(part), base)) for part in _PARTS}
    images = {part: tuple(dict.fromkeys(_images_at(named, base, account))) for part, named in places.items()}
    shape = content.get("kpt_shape")
    return _Described(
        file=file,
        names=_names_of(file, content),
        images=images,
        places=places,
        has_keypoints=math.prod(shape) if isinstance(shape, list) and all(type(one) is int for one in shape) else 0,
    )


def _names_of(file: Path, content: Mapping[str, Any]) -> dict[int, str]:
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(str(key).isdecimal() for key in names):
        raise DataError(
            f"{file}: `names` is neither a list of the classes' names nor one of numbers with names. "
            "Write it, for example names: [apple, pear]."
        )
    named = {int(key): str(names[key]) for key in sorted(names, key=lambda key: int(key))}
    if len(set(named.values())) < len(named):
        raise DataError(f"{file}: two classes of `names` have the same name. Give each its own.")
    return named


def _base_of(file: Path, content: Mapping[str, Any], account: Account) -> Path:
    """What its relative paths are relative to; `path` may be one of another machine."""
    asked = str(content.get("path") or "")
    if not asked:
        return file.parent
    candidates = (file.parent / asked, Path(asked))
    found = next((one for one in candidates if one.is_dir()), None)
    if found is None:
        account.changed.note(
            "`path` that is not there: the folder of the file that has it is taken", f"{file}: {asked}"
        )
    return found or file.parent


def _places(named: Any, base: Path) -> Iterator[Path]:
    """Folders and lists of images; Roboflow writes ../train/images where train/images is meant."""
    for one in named if isinstance(named, list) else [named] if named else []:
        place = base / str(one)
        shorter = base / str(one).removeprefix("../")
        yield shorter if not place.exists() and shorter.exists() else place


def _images_at(places: Iterable[Path], base: Path, account: Account) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from images_below(place)
        elif place.suffix == ".txt" and place.is_file():
            yield from _listed_images(place, base, account)
        elif place.is_file() and is_image(place):
            yield place
        else:
            account.lost.note("places of images that are not there", str(place))


def _listed_images(file: Path, base: Path, account: Account) -> Iterator[Path]:
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not (name := line.strip()):
            continue
        candidates = (file.parent / name, base / name, Path(name))
        found = next((one for one in candidates if one.is_file()), None)
        if found is None:
            account.lost.note("listed images that are not there", f"{file}:{number}: {name}")
        else:
            yield found


def labels_of(image: Path) -> Path:
    """The file of an image's labels: in `labels/` for the last `images/` on its way, else beside it."""
    for parts in (image.parts, image.absolute().parts):  # the folder that a relative path begins in counts too
        places = [place for place, name in enumerate(parts[:-1]) if name == "images"]
        if places:
            return Path(*parts[: places[-1]], "labels", *parts[places[-1] + 1 :]).with_suffix(".txt")
    return image.with_suffix(".txt")


def _read_part(described: _Described, part: str, account: Account) -> list[LabelledImage]:
    read = (_read_image(image, described, account) for image in described.images[part])
    return [image for image in read if image is not None]


def _read_image(file: Path, described: _Described, account: Account) -> LabelledImage | None:
    size = size_of(file, account)
    if size is None:
        return None
    labels = labels_of(file)
    objects = tuple(_read_labels(labels, size, described, account)) if labels.is_file() else ()
    return LabelledImage(file=file, width=size[0], height=size[1], objects=objects)


def _read_labels(
    file: Path, size: tuple[int, int], described: _Described, account: Account
) -> Iterator[LabelledObject]:
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if line.strip():
            made = _object_of(line.split(), f"{file}:{number}", size, described, account)
            if made is not None:
                yield made


def _object_of(
    words: list[str], place: str, size: tuple[int, int], described: _Described, account: Account
) -> LabelledObject | None:
    numbers, problem = _numbers_of(words, described.has_keypoints)
    if problem:
        account.malformed.append(f"{place}: {problem}")
        return None
    if (name := described.names.get(int(numbers[0]))) is None:
        account.lost.note("objects of a class that `names` does not have", f"{place}: class {words[0]}")
        return None
    if described.has_keypoints:
        account.lost.note("keypoints, of which the boxes are kept", place)
        numbers = numbers[:5]
    made = _box(name, numbers[1:], size) if len(numbers) == 5 else _polygon(name, numbers[1:], size)
    if not has_extent(made.bbox):
        account.lost.note("objects without width or height", f"{place}: {' '.join(words[:9])}")
        return None
    if _reaches_beyond(made, size):
        account.changed.note("objects that reach beyond their image, kept as they are", f"{place}: {' '.join(words)}")
    return made


def _reaches_beyond(made: LabelledObject, size: tuple[int, int]) -> bool:
    x, y, width, height = made.bbox
    slack = (_SLACK * size[0], _SLACK * size[1])
    return x < -slack[0] or y < -slack[1] or x + width > size[0] + slack[0] or y + height > size[1] + slack[1]


def _numbers_of(words: list[str], num_keypoint_numbers: int) -> tuple[list[float], str]:
    """What a line says, or why nobody can say that."""
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return [], f"not all of it are numbers ({' '.join(words)[:80]})"
    if not all(map(math.isfinite, numbers)):
        return [], f"not all of it are finite numbers ({' '.join(words)[:80]})"
    if not numbers[0].is_integer() or numbers[0] < 0:
        return [], f"the class {words[0]} is no whole number from 0 on"
    if num_keypoint_numbers:
        expected = 5 + num_keypoint_numbers
        return numbers, "" if len(numbers) == expected else f"{len(numbers)} numbers where kpt_shape means {expected}"
    if len(numbers) == 6:
        return [], "6 numbers: the last one may be the confidence of a prediction, which labels have not"
    if len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0):
        return [], f"{len(numbers)} numbers; a box has 5, a polygon of three points or more an odd number from 7 on"
    return numbers, ""


def _box(name: str, numbers: list[float], size: tuple[int, int]) -> LabelledObject:
    center_x, center_y, width, height = (value * side for value, side in zip(numbers, size * 2, strict=True))
    box = (center_x - width / 2, center_y - height / 2, width, height)
    return LabelledObject(category=name, bbox=box, area=width * height)


def _polygon(name: str, numbers: list[float], size: tuple[int, int]) -> LabelledObject:
    polygon = [value * size[place % 2] for place, value in enumerate(numbers)]
    return LabelledObject(category=name, bbox=box_around([polygon]), polygons=(polygon,), area=area_of(polygon))


def _note_unused_labels(described: _Described, account: Account) -> None:
    """Labels of no image that was found."""
    used = {labels_of(image) for images in described.images.values() for image in images}
    named = (place for places in described.places.values() for place in places if place.is_dir())
    folders = {file.parent for file in (*used, *(labels_of(place / "any.jpg") for place in named))}
    found = {file for folder in folders for file in files_below(folder) if file.suffix == ".txt"}
    for file in sorted(found - used):
        if _is_labels(file):
            account.lost.note("files of labels without an image", str(file))


def _is_labels(file: Path) -> bool:
    """And no list of classes or images."""
    words = file.read_text(encoding="utf-8-sig", errors="replace").split(maxsplit=5)[:5]
    try:
        return len([float(word) for word in words]) == 5
    except ValueError:
        return False
