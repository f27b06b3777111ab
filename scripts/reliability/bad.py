"""Bad input of every kind, in one, some or all images: a training finishes, or says in a sentence why it does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.config.request import RunRequest
from launcher.errors import LauncherError
from scripts.reliability.attempts import begin, reason
from scripts.reliability.job import NUM_TRAIN, Job, make_job, paths_of
from scripts.reliability.result import Row, images_in

ITERATIONS = 13  # two rounds through the images: every bad one is met
AMOUNTS = {"one": 1, "some": 3, "all": NUM_TRAIN}
Spoil = Callable[[Path], None]


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _flip_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _resize(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        smaller = image.convert("RGB").resize((31, 17))
    smaller.save(path)


def _make_grey(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        grey = image.convert("L")
    grey.save(path)


FILES: dict[str, Spoil] = {
    "the file is missing": Path.unlink,
    "the file is cut in half": _halve,
    "the file is empty": lambda path: path.write_bytes(b""),  # type: ignore[dict-item, return-value]
    "the file is text": lambda path: path.write_text("not an image"),  # type: ignore[dict-item, return-value]
    "the file is a folder": _replace_by_folder,
    "a byte in the middle is wrong": _flip_in_the_middle,
    "the image has another size": _resize,
    "the image is grey": _make_grey,
}

Edit = Callable[[dict[str, Any], dict[str, Any]], None]


def _set(part: str, **values: Any) -> Edit:
    def edit(image: dict[str, Any], annotation: dict[str, Any]) -> None:
        (image if part == "image" else annotation).update(values)

    return edit


def _drop(part: str, name: str) -> Edit:
    def edit(image: dict[str, Any], annotation: dict[str, Any]) -> None:
        (image if part == "image" else annotation).pop(name)

    return edit


RECORDS: dict[str, Edit] = {
    "a box of NaN": _set("annotation", bbox=[float("nan")] * 4),
    "an infinite box": _set("annotation", bbox=[1, 1, float("inf"), 5]),
    "a box without an area": _set("annotation", bbox=[5, 5, 0, 0]),
    "a box of negative size": _set("annotation", bbox=[30, 30, -20, -20]),
    "a box outside of the image": _set("annotation", bbox=[500, 500, 20, 20]),
    "a box of three numbers": _set("annotation", bbox=[1, 2, 3]),
    "a box of text": _set("annotation", bbox="1 2 3 4"),
    "no box": _drop("annotation", "bbox"),
    "an unknown category": _set("annotation", category_id=77),
    "an unknown image": _set("annotation", image_id=12345),
    "no segmentation": _drop("annotation", "segmentation"),
    "a polygon of two points": _set("annotation", segmentation=[[1, 1, 5, 5]]),
    "a polygon of NaN": _set("annotation", segmentation=[[float("nan")] * 8]),
    "a mask that is no RLE": _set("annotation", segmentation={"size": [3, 3], "counts": "?"}),
    "an iscrowd of 2": _set("annotation", iscrowd=2),
    "no id of an annotation": _drop("annotation", "id"),
    "the same id for all": _set("annotation", id=1),
    "no file name": _drop("image", "file_name"),
    "a width that is text": _set("image", width="wide"),
    "a width of zero": _set("image", width=0),
    "a height of another image": _set("image", height=1000),
}

WHOLE_FILES: dict[str, Callable[[Path], None]] = {
    "annotations cut in half": _halve,
    "annotations that are empty": lambda path: path.write_text(""),  # type: ignore[dict-item, return-value]
    "annotations that are a list": lambda path: path.write_text("[]"),  # type: ignore[dict-item, return-value]
    "annotations that are missing": Path.unlink,
    "annotations of nothing": lambda path: path.write_text(  # type: ignore[dict-item, return-value]
        '{"images": [], "annotations": [], "categories": []}'
    ),
}


def run_part(folder: Path, times: float, seed: int) -> list[Row]:  # noqa: ARG001 - nothing is random here
    job = make_job(folder)
    every = max(1, round(1 / times))
    files = [(kind, n, _spoil_files(FILES[kind], n)) for kind in list(FILES)[::every] for n in AMOUNTS]
    records = [(kind, n, _edit_records(RECORDS[kind], n)) for kind in list(RECORDS)[::every] for n in AMOUNTS]
    whole_files = [(kind, "whole", _spoil_annotations(WHOLE_FILES[kind])) for kind in list(WHOLE_FILES)[::every]]
    return [
        _row("files of images", files, job),
        _row("records", records, job),
        _row("complete annotation files", whole_files, job),
    ]


def _row(what: str, trials: list[tuple[str, str, Callable[[Path], None]]], job: Job) -> Row:
    finished, told, misses = 0, 0, []
    for number, (kind, amount, spoil) in enumerate(trials):
        how, problem = try_input(job, f"{what}-{number}".replace(" ", "-"), spoil)
        finished += how == "finished"
        told += how == "told"
        misses += [f"{kind}, {amount}: {problem}"] if problem else []
    kinds = len({kind for kind, _, _ in trials})
    return Row(
        part="bad",
        tried=f"{what}: {kinds} kinds" + (f", each in {', '.join(AMOUNTS)} images" if kinds < len(trials) else ""),
        measured=f"{finished} finished, {told} ended with an error message, {len(misses)} otherwise",
        misses=tuple(misses),
    )


def try_input(job: Job, name: str, spoil: Callable[[Path], None]) -> tuple[str, str]:
    """How a training on spoilt copies of the images ends, and what is wrong with that."""
    request = job.named(name, DATALOADER__NUM_WORKERS=0, SOLVER__MAX_ITER=ITERATIONS, TEST__EVAL_PERIOD=0)
    data = paths_of(request).folder.parent / "data" / name
    shutil.copytree(Path(job.request.dataset.train.json).parent, data)
    spoil(data)
    try:
        attempt = begin(_with_data(request, data))
    except LauncherError as error:
        return "told", "" if str(error) and "Traceback" not in str(error) else f"said {error}"
    except Exception as error:
        return "", f"{type(error).__name__} before the start: {error}"
    ended = attempt.ended()
    shutil.rmtree(data)
    if ended.outcome.exit_code == 0:
        return "finished", ""
    if ended.is_clear and "Traceback" not in ended.printed:
        return "told", ""
    return "", f"a traceback: {(reason(ended.outcome) + ended.printed)[-300:]}"


def _with_data(request: RunRequest, data: Path) -> RunRequest:
    train = replace(request.dataset.train, json=str(data / "train.json"), images=str(data / "train"))
    return replace(request, dataset=replace(request.dataset, train=train))


def _spoil_files(spoil: Spoil, amount: str) -> Callable[[Path], None]:
    def apply(data: Path) -> None:
        for path in images_in(data)[: AMOUNTS[amount]]:
            spoil(path)

    return apply


def _edit_records(edit: Edit, amount: str) -> Callable[[Path], None]:
    def apply(data: Path) -> None:
        file = data / "train.json"
        content = json.loads(file.read_text())
        for image in content["images"][: AMOUNTS[amount]]:
            own = [a for a in content["annotations"] if a["image_id"] == image["id"]]
            for annotation in own[:1] if amount != "all" else own:
                edit(image, annotation)
                if "file_name" not in image or "width" not in image:
                    break
        file.write_text(json.dumps(content))

    return apply


def _spoil_annotations(spoil: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda data: spoil(data / "train.json")
