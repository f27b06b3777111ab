"""COCO files as people write them, sound ones and odd ones, for hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

numbers = st.floats(-20, 200, allow_nan=False) | st.integers(-5, 90)
texts = st.sampled_from(["a.jpg", "sub dir/b.jpg", "ü:ö.png", 'quote".jpg', "日本.jpg", "http://x.org/a:b", "𝄞"])
extra = st.dictionaries(st.sampled_from(["license", "coco_url", "date", "x:y"]), texts | numbers, max_size=2)
polygons = st.lists(st.lists(numbers, min_size=0, max_size=9), max_size=3)
rles = st.fixed_dictionaries({"size": st.just([4, 5]), "counts": st.sampled_from(["d0", [3, 17], [0, 20]])})
keypoints = st.lists(st.tuples(numbers, numbers, st.integers(0, 2)), max_size=3).map(
    lambda points: [value for point in points for value in point]
)


def maybe(key: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({}) | values.map(lambda value: {key: value})


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """The content of a sound file."""
    image_ids = draw(st.lists(st.integers(-3, 40), min_size=1, max_size=6, unique=True))
    category_ids = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
    images = [
        {"id": one, "file_name": draw(texts), "height": draw(st.integers(1, 80)), "width": draw(st.integers(1, 80))}
        | draw(extra)
        for one in image_ids
    ]
    count = draw(st.integers(0, 8))
    ids = draw(st.lists(st.integers(-3, 99), min_size=count, max_size=count, unique=True))
    annotations = [draw(annotation(one, image_ids, category_ids)) for one in ids]
    return {
        "info": draw(extra),
        "images": images,
        "annotations": annotations,
        "categories": [{"id": one, "name": f"class {one}"} for one in category_ids],
    }


@st.composite
def annotation(draw: st.DrawFn, one: int, image_ids: list[int], category_ids: list[int]) -> dict[str, Any]:
    made = {
        "id": one,
        "image_id": draw(st.sampled_from(image_ids)),
        "category_id": draw(st.sampled_from(category_ids)),
        **draw(maybe("bbox", st.lists(numbers, min_size=4, max_size=4))),
        **draw(maybe("segmentation", polygons | rles)),
        **draw(maybe("iscrowd", st.sampled_from([0, 1, 0.0, None, True]))),
        **draw(maybe("keypoints", keypoints)),
        **draw(maybe("area", numbers)),
        **draw(extra),
    }
    return {key: made[key] for key in draw(st.permutations(list(made)))}


ODDITIES: list[tuple[str, Any]] = [
    ("id", "7"),
    ("id", 1.0),
    ("id", 2**70),
    ("id", 3),
    ("id", None),
    ("id", True),
    ("image_id", 777),
    ("image_id", "1"),
    ("image_id", 1.0),
    ("image_id", [1]),
    ("category_id", 55),
    ("category_id", 1.0),
    ("bbox", []),
    ("bbox", None),
    ("bbox", [float("inf"), 1, 2, 3]),
    ("bbox", [float("nan"), 1, 2, 3]),
    ("segmentation", "text"),
    ("segmentation", 5),
    ("segmentation", [[1, 2, 3, 4, 5, 6], "x"]),
    ("segmentation", {"counts": "d0"}),
    ("segmentation", {"size": [2, 2]}),
    ("segmentation", {"size": [2, 2], "counts": [-4, 8]}),
    ("segmentation", {"size": [2, 2], "counts": [1, {"a": 1}]}),
    ("keypoints", None),
    ("keypoints", 5),
    ("keypoints", ["a", 1, 2]),
    ("ignore", 1),
    ("iscrowd", "x"),
    ("area", 10**400),
    ("file_name", 5),
    ("file_name", "\ud800"),
    ("width", 10.5),
    ("height", "5"),
    ("height", 2**40),
    ("name", 5),
    ("name", ""),
]


@st.composite
def odd_entries(draw: st.DrawFn) -> dict[str, Any]:
    """A file with one or two things in it that few files have."""
    content = draw(entries())
    for _ in range(draw(st.integers(0, 2))):
        part = content[draw(st.sampled_from(["images", "annotations", "annotations", "categories"]))]
        if not part:
            continue
        place = draw(st.integers(0, len(part) - 1))
        key, value = draw(st.sampled_from(ODDITIES))
        if draw(st.booleans()) and isinstance(part[place], dict):
            part[place] = {**part[place], key: value}
        else:
            part[place] = draw(st.sampled_from([None, 5, "x", [], {}]))
    return content


@st.composite
def coco_texts(draw: st.DrawFn, contents: st.SearchStrategy[dict[str, Any]]) -> bytes:
    """A file as this or that program lays it out."""
    content = draw(contents)
    content = {key: content[key] for key in draw(st.permutations(list(content)))}
    layout = draw(
        st.sampled_from(
            [{}, {"indent": 1}, {"separators": (",", ":")}, {"separators": (" ,\n", " : ")}, {"indent": ""}]
        )
    )
    text = json.dumps(content, ensure_ascii=draw(st.booleans()), **layout)
    text = draw(st.sampled_from(["", "\n ", "\ufeff"] if draw(st.integers(0, 9)) == 0 else [""])) + text
    for old, new in draw(st.lists(st.sampled_from(_RESPELLED), max_size=1)):
        text = text.replace(old, new, 1)
    return text.encode("utf-8", "surrogatepass")


_LAYOUTS: list[dict[str, Any]] = [
    {},
    {"indent": 1},
    {"indent": ""},
    {"separators": (",", ":")},
    {"separators": (" ,\n", " : ")},
]
_RESPELLED = [
    ("}, {", "},  \n{"),
    ("},{", "} ,{"),
    ('"id"', '"\\u0069d"'),
    ('"id"', '"bbox": [1, 2, 3, 4], "id"'),
    ('"image_id"', '"image_id": 1, "image_id"'),
    ('"images"', '"annotations": [], "images"'),
    ('"info"', '"info": {"a": 1, "a": 2}, "info"'),
    ("1", "1e999"),
    ("2", "1E2"),
    (".", ".000000000000000000000000000001"),
]
