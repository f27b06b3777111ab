"""Which images of a file validate, and that each part is judged as a file of its own would be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.config.request import DatasetRequest, ValRequest
from launcher.config.values import from_plain, to_plain
from launcher.data.coco_file import read_coco
from launcher.data.facts import inspect_dataset
from launcher.data.index.build import build_index
from launcher.data.index.columns import listed_images
from launcher.data.index.store import IndexStore
from launcher.data.plan import CocoSplit, DatasetPlan, plan_dataset
from launcher.data.portion import Portion, cut
from launcher.data.truth import number_zero, read_truth
from launcher.errors import DataError
from tests.data.examples import KEYS, annotation, coco_content, request_for, write_fruits


def part(fraction: float = 0.2, seed: int = 0, *, is_val: bool = True) -> Portion:
    return Portion(fraction=fraction, seed=seed, is_val=is_val)


def both(fraction: float, seed: int = 0) -> tuple[Portion, Portion]:
    return part(fraction, seed), part(fraction, seed, is_val=False)


def images(number: int) -> list[dict[str, Any]]:
    return [{"id": one, "file_name": f"{one}.jpg", "width": 40, "height": 30} for one in range(number)]


def names(content: dict[str, Any]) -> list[str]:
    return [entry["file_name"] for entry in content["images"]]


entries = st.lists(
    st.one_of(
        st.fixed_dictionaries({"id": st.integers(0, 6) | st.text(max_size=2), "file_name": st.text(max_size=3)}),
        st.none() | st.integers() | st.fixed_dictionaries({"file_name": st.text(max_size=2)}),
        st.fixed_dictionaries({"id": st.lists(st.integers()), "file_name": st.text(max_size=2)}),
    ),
    max_size=12,
)
image_ids = st.lists(st.integers(0, 9) | st.text(max_size=2) | st.none() | st.lists(st.integers()), max_size=20)


def is_image(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), (int, str)) and bool(entry["file_name"])


@given(entries, image_ids, st.floats(0.01, 0.99), st.integers(0, 5))
def test_every_entry_is_in_exactly_one_part_whatever_the_file_has(
    listed: list[Any], of_images: list[Any], fraction: float, seed: int
):
    val, train = both(fraction, seed)

    assert sorted(val.images(listed) + train.images(listed)) == list(range(len(listed)))
    assert sorted(val.annotations(of_images, listed) + train.annotations(of_images, listed)) == list(
        range(len(of_images))
    )
    ids = [
        {repr(listed[place].get("id")) for place in one.images(listed) if is_image(listed[place])} for one in both(0.5)
    ]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("number", "fraction", "chosen"),
    [(100, 0.2, 20), (10, 0.25, 3), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1), (1, 0.5, 0), (0, 0.5, 0)],
)
def test_a_fraction_is_rounded_and_leaves_both_parts_an_image_where_there_are_two(
    number: int, fraction: float, chosen: int
):
    assert len(part(fraction).images(images(number))) == chosen


def test_the_same_images_validate_on_every_machine_and_others_with_another_seed():
    chosen = [part(0.2, seed).images(images(20)) for seed in (0, 0, 1)]

    assert chosen[0] == [2, 8, 9, 17]
    assert chosen[1] == chosen[0] != chosen[2]


def test_the_order_of_the_file_and_the_numbers_in_it_do_not_matter():
    listed = images(30)
    other = [{**entry, "id": f"x{entry['id']}"} for entry in reversed(listed)]

    assert sorted(names(cut({"images": listed, "annotations": []}, part()))) == sorted(
        names(cut({"images": other, "annotations": []}, part()))
    )


def test_more_images_leave_nearly_all_where_they_were():
    before = set(names(cut({"images": images(1000), "annotations": []}, part())))
    after = set(names(cut({"images": images(1010), "annotations": []}, part())))

    assert len(before - after) <= 5


def test_a_larger_fraction_keeps_what_validated_before():
    assert set(part(0.2).images(images(50))) < set(part(0.4).images(images(50)))


def test_what_roboflow_made_of_one_photograph_stays_together():
    listed = [
        {"id": 3 * photo + copy, "file_name": f"p{photo}_jpg.rf.{(photo * 3 + copy):032x}.jpg"}
        for photo in range(10)
        for copy in range(3)
    ]

    chosen = {place // 3 for place in part(0.3).images(listed)}

    assert len(part(0.3).images(listed)) == 9
    assert len(chosen) == 3


def test_one_file_listed_twice_is_in_one_part():
    listed = [{"id": number, "file_name": f"{number // 2}.jpg"} for number in range(40)]

    chosen = part(0.3).images(listed)

    assert {place ^ 1 for place in chosen} == set(chosen)


# Of a whole data set


def divided(folder: Path, number: int = 10, **settings: Any) -> DatasetRequest:
    """Ten images with two objects each, in one file."""
    dataset = write_fruits(folder)
    listed = images(number)
    objects = [
        annotation(2 * image + which + 1, image_id=image, category_id=1 + which, bbox=[2 + which, 3, 10, 8])
        for image in range(number)
        for which in range(2)
    ]
    content = {**coco_content(), "images": listed, "annotations": objects}
    (folder / "train.json").write_text(json.dumps(content))
    for image in range(number):
        (folder / "train" / f"{image}.jpg").write_bytes(b"")
    val = ValRequest(json=dataset.train.json, images=dataset.train.images, fraction=0.3, **settings)
    return dataclasses.replace(dataset, val=val)


def plan(dataset: DatasetRequest, indexes: IndexStore | None = None) -> DatasetPlan:
    return plan_dataset(request_for(dataset), inspect_dataset(dataset, KEYS, indexes=indexes))


def store_in(folder: Path) -> IndexStore:
    return IndexStore(folders=[folder], fewest_bytes=0, announce=lambda _: None)


@pytest.mark.parametrize("is_indexed", [False, True])
def test_each_part_is_what_a_file_of_its_own_would_be(tmp_path: Path, is_indexed: bool):
    dataset = divided(tmp_path)
    content = json.loads(Path(dataset.train.json).read_text())
    content["annotations"][0]["bbox"] = [1, 2, 0, 0]
    Path(dataset.train.json).write_text(json.dumps(content))
    for one in both(0.3):
        (tmp_path / f"{one.is_val}.json").write_text(json.dumps(cut(content, one)))

    facts = inspect_dataset(dataset, KEYS, indexes=store_in(tmp_path / "cache") if is_indexed else None).coco

    for coco, name in zip(facts, ("False", "True"), strict=True):
        alone = read_coco(coco.name, coco.split, tmp_path / f"{name}.json", Path(coco.images))
        assert dataclasses.replace(coco, portion=None, json="", checksum=0) == dataclasses.replace(
            alone, json="", checksum=0
        )
    assert [coco.num_images for coco in facts] == [7, 3]


def test_the_index_of_a_part_has_its_images_alone(tmp_path: Path):
    file = Path(divided(tmp_path).train.json)
    val, train = (build_index(file, portion=one, num_processes=1) for one in both(0.3))

    listed = [{image.file_name for image in listed_images(index)} for index in (val, train)]

    assert listed[0] | listed[1] == {f"{number}.jpg" for number in range(10)}
    assert not listed[0] & listed[1]
    assert val.columns is not None
    assert val.columns.images.end.tolist() == [2, 4, 6]


def test_a_part_an_another_part_and_the_whole_have_indexes_of_their_own(tmp_path: Path):
    file, indexes = Path(divided(tmp_path).train.json), store_in(tmp_path / "cache")

    opened = [indexes.open(file, one) for one in (None, *both(0.3), part(0.3, 1), part(0.4))]

    paths = [one.facts.path for one in opened if one is not None and one.index is not None]
    assert len(set(paths)) == 5


def test_the_plan_says_how_many_validate_and_keeps_the_parts_for_the_worker(tmp_path: Path):
    dataset = divided(tmp_path, seed=4)

    planned = plan(dataset)

    assert planned.notices[0] == (
        f"3 of 10 images of {dataset.train.json} are for validation (dataset.val.fraction=0.3 dataset.val.seed=4)"
    )
    assert [split.portion for split in planned.splits] == [part(0.3, 4, is_val=False), part(0.3, 4)]
    assert from_plain(DatasetPlan, to_plain(planned)) == planned


def test_what_is_wrong_is_said_of_the_file_that_was_named_and_with_its_own_numbers(tmp_path: Path):
    dataset = divided(tmp_path)
    content = json.loads(Path(dataset.train.json).read_text())
    for entry in content["annotations"]:
        del entry["category_id"]
    Path(dataset.train.json).write_text(json.dumps(content))

    with pytest.raises(DataError) as refused:
        plan(dataset)

    assert f"dataset.train.json={dataset.train.json} (its images for training): 14 annotations have" in str(
        refused.value
    )
    assert f"dataset.train.json={dataset.train.json} (its images for validation): 6 annotations have" in str(
        refused.value
    )


def test_a_file_that_cannot_be_divided_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"needs two images to be divided.*Leave dataset\.val\.fraction out"):
        plan(divided(tmp_path, 1))


# Id 0


def test_an_annotation_of_id_0_gets_the_first_free_number():
    numbered = [{"id": number} for number in (0, 1, 2, 5)]

    assert number_zero(numbered)
    assert [entry["id"] for entry in numbered] == [3, 1, 2, 5]
    assert not number_zero(numbered)


def test_the_truth_of_a_part_has_its_images_and_no_id_0(tmp_path: Path):
    file = Path(divided(tmp_path).train.json)
    content = json.loads(file.read_text())
    for entry in content["annotations"]:
        entry["id"] -= 1
    file.write_text(json.dumps(content))

    val, train = (read_truth(file, one) for one in both(0.3))

    assert len(val["images"]) == 3
    assert len(val["annotations"]) == 6
    assert {entry["id"] for entry in val["annotations"] + train["annotations"]} >= set(range(1, 20))
    assert CocoSplit(name="a", json="b", images="c").portion is None
