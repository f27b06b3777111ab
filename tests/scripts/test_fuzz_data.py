"""A tenth of scripts/fuzz/data.py: spoiled COCO files get a sentence, and those accepted can be read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from launcher.data.facts import inspect_dataset
from launcher.data.plan import plan_dataset
from scripts.fuzz import data
from tests.data.examples import keys_with, request_for, write_fruits


def test_spoiled_files_get_a_sentence_and_no_traceback_or_wait():
    done = list(data.trials(30, seed=7))

    assert [trial for trial in done if trial.wrong] == []
    assert {trial.got for trial in done} >= {data.REFUSED, data.SILENT}


@pytest.mark.parametrize(
    "kind", [kind for kind in data.KINDS if kind.at_least == data.REFUSED], ids=lambda kind: kind.name
)
def test_the_kinds_that_must_be_refused_are_by_themselves(tmp_path: Path, kind: data.Kind):
    data.write_images(tmp_path)
    rng = random.Random(1)

    done = data.try_kinds([kind], rng, folder=tmp_path, mask_on=kind.name != "a keypoint", split="val")

    assert (done.got, done.wrong) == (data.REFUSED, "")


def test_the_file_that_is_spoiled_is_sound_before(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_text(json.dumps(data.sound(random.Random(3))))
        for number in range(1, 5):
            (tmp_path / split / f"{number}.png").write_bytes(b"")

    assert plan_dataset(request_for(dataset), inspect_dataset(dataset, keys_with())).notices == ()
