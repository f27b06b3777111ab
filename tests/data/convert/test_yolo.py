"""YOLO's labels, as people bring them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import DataError
from tests.data.convert.written import boxes, changes, converted, losses, picture, text

YAML = ("train: images/train", "val: images/val", "names: [apple, pear]")


def write(root: Path, *lines: str, yaml: tuple[str, ...] = YAML) -> Path:
    """One image to train on with these labels, one to validate with without any."""
    for part in ("train", "val"):
        picture(root / "images" / part / "a.jpg")
    text(root / "labels/train/a.txt", *lines)
    text(root / "data.yaml", *yaml)
    return root


def test_boxes_and_polygons_are_read_in_pixels(tmp_path: Path):
    source = write(tmp_path / "yolo", "1 0.5 0.5 0.25 0.2", "", "0 0.1 0.1 0.5 0.1 0.5 0.4")

    done, content = converted(source)

    assert boxes(content["train"]) == [("pear", [15, 12, 10, 6]), ("apple", [4, 3, 16, 9])]
    box, polygon = content["train"]["annotations"]
    assert "segmentation" not in box
    assert (box["area"], box["iscrowd"]) == (60, 0)
    assert polygon["segmentation"] == [[4, 3, 20, 3, 20, 12]]
    assert polygon["area"] == 72
    assert content["train"]["categories"] == [{"id": 1, "name": "apple"}, {"id": 2, "name": "pear"}]
    assert content["val"]["annotations"] == []
    assert (done.losses, done.changes) == ((), ())
    assert [(file.num_images, file.num_without) for file in done.files] == [(1, 0), (1, 1)]


@pytest.mark.parametrize(
    "yaml",
    [
        ("train: ../train/images", "val: ../valid/images", "nc: 2", "names: ['apple', 'pear']"),
        ("path: .", "train: train/images", "val: valid/images", "names: {0: apple, 1: pear}"),
        ("path: ../yolo", "train: [train/images]", "val: lists/val.txt", "names: [apple, pear]"),
        ("train: lists/train.txt", "val: lists/val.txt", "names:", "  0: apple", "  1: pear"),
        ("path: /content/datasets/fruits", "train: train/images", "val: valid/images", "names: [apple, pear]"),
    ],
    ids=["Roboflow", "dict of names", "a list and a text file", "text files", "path of another machine"],
)
def test_every_way_to_say_where_images_are_is_followed(tmp_path: Path, yaml: tuple[str, ...]):
    root = tmp_path / "yolo"
    for part in ("train", "valid"):
        picture(root / part / "images/deep/a.jpg")
        text(root / part / "labels/deep/a.txt", "1 0.5 0.5 0.5 0.5")
    text(root / "lists/train.txt", "../train/images/deep/a.jpg")
    text(root / "lists/val.txt", "./../valid/images/deep/a.jpg", "")
    text(root / "data.yaml", *yaml)

    done, content = converted(root)

    assert boxes(content["train"]) == boxes(content["val"]) == [("pear", [10, 7.5, 20, 15])]
    assert losses(done) == {}
    is_elsewhere = any("/content" in line for line in yaml)
    assert list(changes(done)) == (
        ["`path` that is not there: the folder of the file that has it is taken"] if is_elsewhere else []
    )


def test_labels_beside_their_images_are_found(tmp_path: Path):
    picture(tmp_path / "yolo/train/a.jpg")
    text(tmp_path / "yolo/train/a.txt", "0 0.5 0.5 1 1")
    text(tmp_path / "yolo/mine.yaml", "train: train", "names: [apple]")

    _, content = converted(tmp_path / "yolo")

    assert boxes(content["train"]) == [("apple", [0, 0, 40, 30])]


def test_files_with_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path):
    source = write(tmp_path / "yolo")
    (source / "labels/train/a.txt").write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.5 0.5\r\n1 0.5 0.5 0.5 0.5\r\n")
    (source / "data.yaml").write_bytes(b"\xef\xbb\xbf" + (source / "data.yaml").read_bytes().replace(b"\n", b"\r\n"))

    _, content = converted(source)

    assert [name for name, _ in boxes(content["train"])] == ["apple", "pear"]


LOST = [
    ("7 0.5 0.5 0.2 0.2", "objects of a class that `names` does not have"),
    ("0 0.5 0.5 0 0.2", "objects without width or height"),
    ("0 0.5 0.5 -0.1 0.2", "objects without width or height"),
    ("0 0.1 0.1 0.1 0.2 0.1 0.5", "objects without width or height"),
]


@pytest.mark.parametrize(("line", "kind"), LOST)
def test_an_object_that_cannot_be_carried_over_is_counted_with_file_and_line(tmp_path: Path, line: str, kind: str):
    source = write(tmp_path / "yolo", "0 0.5 0.5 0.5 0.5", line)

    done, content = converted(source)

    assert losses(done) == {kind: 1}
    assert f"{source}/labels/train/a.txt:2" in done.losses[0].examples[0]
    assert len(content["train"]["annotations"]) == 1


MALFORMED = [
    ("0 0.5 0.5 0.2", "4 numbers; a box has 5"),
    ("0 0.5 0.5 0.2 0.2 0.93", "may be the confidence of a prediction"),
    ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 numbers; a box has 5"),
    ("apple 0.5 0.5 0.2 0.2", r"not all of it are numbers \(apple 0.5"),
    ("0 0.5 nan 0.2 0.2", "finite numbers"),
    ("0.5 0.5 0.5 0.2 0.2", "the class 0.5 is no whole number"),
    ("-1 0.5 0.5 0.2 0.2", "the class -1 is no whole number"),
    ("0,0.5,0.5,0.2,0.2", "not all of it are numbers"),
]


@pytest.mark.parametrize(("line", "said"), MALFORMED)
def test_what_cannot_be_read_is_refused_with_file_and_line_and_nothing_is_written(tmp_path: Path, line: str, said: str):
    source = write(tmp_path / "yolo", "0 0.5 0.5 0.5 0.5", line)

    with pytest.raises(DataError, match=rf"1 label cannot be read.*\n.*labels/train/a\.txt:2: .*{said}[\s\S]*--skip-"):
        converted(source)

    assert not (tmp_path / "coco").exists()


@pytest.mark.parametrize(("line", "_"), MALFORMED)
def test_what_cannot_be_read_is_left_out_and_counted_where_that_is_asked_for(tmp_path: Path, line: str, _: str):
    done, content = converted(write(tmp_path / "yolo", "0 0.5 0.5 0.5 0.5", line), skip_malformed=True)

    assert losses(done) == {"what cannot be read (--skip-malformed)": 1}
    assert len(content["train"]["annotations"]) == 1


def test_files_that_belong_to_nothing_are_counted(tmp_path: Path):
    source = write(tmp_path / "yolo", "0 0.5 0.5 0.5 0.5", yaml=(*YAML, "test: images/test"))
    text(source / "labels/train/b.txt", "0 0.5 0.5 0.5 0.5")
    text(source / "labels/train/classes.txt", "apple", "pear")
    text(source / "images/train/broken.jpg", "no image")

    done, _ = converted(source)

    assert losses(done) == {
        "files of labels without an image": 1,
        "images that cannot be read, with their objects": 1,
        "places of images that are not there": 1,
    }


def test_objects_beyond_their_image_are_kept_and_said(tmp_path: Path):
    done, content = converted(write(tmp_path / "yolo", "0 0.95 0.5 0.2 0.2", "0 1.2 0.5 0.6 0.2", "0 9 0.1 1 1"))

    assert changes(done) == {"objects that reach beyond their image, kept as they are": 3}
    assert boxes(content["train"])[0] == ("apple", [34, 12, 8, 6])


def test_of_poses_the_boxes_are_kept_and_the_keypoints_counted(tmp_path: Path):
    line = "0 0.5 0.5 0.5 0.5 0.4 0.4 2 0.6 0.6 1"
    done, content = converted(write(tmp_path / "yolo", line, yaml=(*YAML, "kpt_shape: [2, 3]")))

    assert boxes(content["train"]) == [("apple", [10, 7.5, 20, 15])]
    assert losses(done) == {"keypoints, of which the boxes are kept": 1}


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        (("train: images/train",), "`names` is neither"),
        (("train: images/train", "names: []"), "`names` is neither"),
        (("train: images/train", "names: {a: 1}"), "`names` is neither"),
        (("train: images/train", "names: [a, a]"), "two classes"),
        (("names: [a]",), r"no images are found.*\(nothing\)"),
        (("train: nowhere", "names: [a]"), r"no images are found.*\(train: .*nowhere\)"),
        (("- a",), "no train, val and names"),
        (("train: images", "names: [a", "val: b"), r"data\.yaml:3: this is no YAML"),
    ],
)
def test_a_description_that_does_not_describe_is_refused(tmp_path: Path, yaml: tuple[str, ...], said: str):
    with pytest.raises(DataError, match=said):
        converted(write(tmp_path / "yolo", "0 0.5 0.5 0.5 0.5", yaml=yaml))


# Round trips: COCO to YOLO by a writer of the test, and back.


def yolo_line(category: int, numbers: list[float], size: tuple[int, int], *, is_box: bool) -> str:
    """As Ultralytics writes it, with all digits of a float."""
    width, height = size
    if is_box:
        x, y, w, h = numbers
        numbers = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
    else:
        numbers = [value / (width, height)[place % 2] for place, value in enumerate(numbers)]
    return " ".join(map(repr, [category, *numbers]))


sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
side = st.floats(0.001, 1)
corner = st.floats(0, 1)


@st.composite
def objects(draw: Any) -> tuple[tuple[int, int], list[tuple[int, list[float], bool]]]:
    size = draw(sizes)
    made = [(0, [0.0, 0.0, float(size[0]), float(size[1])], True)]
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            x, y = (draw(corner) * 0.9 * length for length in size)
            w, h = (draw(side) * (length - start) for length, start in zip(size, (x, y), strict=True))
            made.append((draw(st.integers(0, 1)), [x, y, w, h], True))
        else:
            points = draw(st.lists(st.tuples(corner, corner), min_size=3, max_size=6))
            made.append((draw(st.integers(0, 1)), [p[axis] * size[axis] for p in points for axis in (0, 1)], False))
    return size, made


@settings(max_examples=60, deadline=None)
@given(objects())
def test_coordinates_survive_the_way_to_yolo_and_back(described: Any):
    size, made = described
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "yolo")
        picture(root / "images/a.png", size)
        text(root / "labels/a.txt", *(yolo_line(one, numbers, size, is_box=is_box) for one, numbers, is_box in made))
        text(root / "data.yaml", "train: images", "names: [apple, pear]")

        done, content = converted(root)

    (image,) = content["train"]["images"]
    assert (image["width"], image["height"]) == size
    back = iter(content["train"]["annotations"])
    num_lost = 0
    for category, numbers, is_box in made:
        extent = numbers[2:] if is_box else [max(numbers[a::2]) - min(numbers[a::2]) for a in (0, 1)]
        if round(min(extent), 4) <= 0:
            num_lost += 1
            continue
        one = next(back)
        assert one["category_id"] == category + 1
        kept = one["bbox"] if is_box else one["segmentation"][0]
        assert kept == pytest.approx(numbers, abs=1e-4)
    assert next(back, None) is None
    assert sum(losses(done).values()) == num_lost
    assert json.dumps(content)


@pytest.mark.parametrize(("source", "inside"), [(".", ""), ("data.yaml", ""), (".", "images")])
def test_labels_are_found_from_within_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, inside: str
):
    root = write(tmp_path / "yolo", "0 0.5 0.5 0.2 0.2")
    text(root / "images/data.yaml", "train: train", "val: val", "names: [apple]")
    monkeypatch.chdir(root / inside)

    done, content = converted(Path(source), folder=tmp_path / "coco")

    assert boxes(content["train"]) == [("apple", [16, 12, 8, 6])]
    assert done.losses == ()


def test_an_object_too_thin_to_be_written_is_counted(tmp_path: Path):
    source = write(tmp_path / "yolo", "0 0.5 0.5 0.2 0.2", "0 0 0 0 1e-9 1 0")

    done, content = converted(source)

    assert len(content["train"]["annotations"]) == 1
    assert losses(done) == {"objects without width or height": 1}


def test_a_description_with_control_characters_is_refused(tmp_path: Path):
    source = write(tmp_path / "yolo", yaml=("names: [a\x00]", "train: images/train"))

    with pytest.raises(DataError, match=r"data\.yaml cannot be read: "):
        converted(source)


def test_images_in_linked_folders_are_read_once(tmp_path: Path):
    root = write(tmp_path / "yolo")
    picture(tmp_path / "elsewhere/b.jpg")
    text(tmp_path / "elsewhere/b.txt", "0 0.5 0.5 0.2 0.2")
    (root / "images/train/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(root / "images/train")
    text(root / "labels/train/linked/b.txt", "0 0.5 0.5 0.2 0.2")

    _, content = converted(root)

    assert [Path(one["file_name"]).name for one in content["train"]["images"]] == ["a.jpg", "b.jpg"]
    assert len(content["train"]["annotations"]) == 1


def test_several_descriptions_are_asked_about(tmp_path: Path):
    source = write(tmp_path / "yolo", "0 0.5 0.5 0.2 0.2")
    (source / "data.yaml").unlink()
    for name in ("a", "b"):
        text(source / f"{name}.yaml", "train: images/train", f"names: [{name}]")

    with pytest.raises(DataError, match=r"several data sets: .*a\.yaml, .*b\.yaml\. Name one"):
        converted(source)
    _, content = converted(source / "b.yaml")

    assert boxes(content["train"]) == [("b", [16, 12, 8, 6])]
