"""Child program: draws images as a model gets them, for `launcher data show`, and writes as JSON what came of it.

Usage: python -m launcher.train.output.inputs OUTPUT QUESTION, both files
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from launcher.config.values import read_json, to_plain
from launcher.data.tally import listed
from launcher.errors import DataError, LauncherError, RequestError
from launcher.run.inputs_sheet import DrawnSheet, InputsSheet
from launcher.train.compat.cfg_node import to_cfg_node
from launcher.train.compat.cropping import crop_without_shapely
from launcher.train.output.drawing import Names, input_tiles, names_of
from launcher.train.output.sheet import save_sheet
from launcher.train.own_code import load_own_code
from launcher.train.samples.indexed import IndexedRecords
from launcher.train.samples.mapped import Mapper
from launcher.train.samples.pixels import read_deep_pixels
from launcher.train.samples.register import check_own_datasets, register_datasets, register_indexes
from launcher.train.samples.samplers import read_records
from launcher.train.samples.spread import spread
from launcher.train.seeds import seed_sample

_NOTHING = DrawnSheet(drawn=0, chosen=0, available=0)
_SHOWN = 20
"""Classes that are listed where another one was named."""


def main(arguments: Sequence[str]) -> int:
    output, question = map(Path, arguments)
    output.write_text(json.dumps(to_plain(answer(read_json(question, InputsSheet)))))
    return 0


def answer(asked: InputsSheet) -> DrawnSheet:
    """Draw the sheet, or say why not."""
    try:
        return draw_sheet(asked)
    except LauncherError as error:
        return replace(_NOTHING, problem=str(error), exit_code=int(error.exit_code))


def draw_sheet(asked: InputsSheet) -> DrawnSheet:
    """Draw what is asked for.

    Raises:
        LauncherError: no image has such a class, or none can be read.
    """
    trainer_class = load_own_code(asked.own_code)
    cfg = to_cfg_node(asked.keys, asked.own_code.config_extensions)
    if not asked.augmented:
        resize_only(cfg)
    register_datasets(asked.data.splits)
    register_indexes(asked.data.indexes)
    check_own_datasets(asked.data.own_classes)
    crop_without_shapely()
    read_deep_pixels(cfg.INPUT.FORMAT)
    records = read_records(cfg, asked.names, training=set(asked.names) <= {*cfg.DATASETS.TRAIN})
    names = names_of(MetadataCatalog.get(asked.names[0]))
    places = _places_with(records, asked.class_name, names) if asked.class_name else range(len(records))
    chosen = [records[place] for place in spread(places, asked.count)]
    tiles = input_tiles(cfg, _seeded(trainer_class.build_mapper(cfg, True), max(0, cfg.SEED)), chosen, names)
    if not tiles:
        raise DataError(f"None of {len(chosen)} images can be drawn. To see why: launcher data check")
    save_sheet(tiles, Path(asked.file), heading=_heading(asked))
    return DrawnSheet(drawn=len(tiles), chosen=len(chosen), available=len(places))


def _heading(asked: InputsSheet) -> str:
    how = "as training gets them, augmented" if asked.augmented else "as resized, without augmentation"
    return f"{', '.join(asked.names)}: {how}{f'; with {asked.class_name}' if asked.class_name else ''}"


def _seeded(mapper: Mapper, seed: int) -> Mapper:
    """Random numbers follow from the seed and how many images came before: the same sheet every time."""
    numbers = count()

    def mapped(record: dict[str, Any]) -> dict[str, Any] | None:
        seed_sample(seed, next(numbers))
        return mapper(record)

    return mapped


def resize_only(cfg: CfgNode) -> None:
    """Set the training's mapper to what an evaluation does to an image; it keeps the objects."""
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.INPUT.CROP.ENABLED = False
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (cfg.INPUT.MIN_SIZE_TEST,), cfg.INPUT.MAX_SIZE_TEST
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "choice"


def _places_with(records: Any, name: str, names: Names) -> list[int]:
    """Of the images that have an object of a class."""
    if name not in names.things:
        near = get_close_matches(name, names.things, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        shown = listed(names.things[:_SHOWN], len(names.things))
        raise RequestError(f"--class {name}: there is no such class ({shown}).{guess}")
    places = list(_places_of(records, names.things.index(name)))
    if not places:
        raise RequestError(f"--class {name}: no image has an object of it. Name another class, or leave it out.")
    return places


def _places_of(records: Any, index: int) -> Iterator[int]:
    """Where the images with an object of that class are, of an indexed file without decoding any."""
    listed = records.categories() if isinstance(records, IndexedRecords) else records
    for place, record in enumerate(listed):
        if any(one["category_id"] == index for one in record.get("annotations", ())):
            yield place


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
