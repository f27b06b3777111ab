"""Where the entries of a file lie, against what `json` decodes."""

from __future__ import annotations

import json

import pytest

from launcher.data.index.scan import NotIndexableError, Spans, scan

FEW = '"images": [], "annotations": [], "categories": []'


def decoded(text: bytes, spans: Spans) -> list[object]:
    return [json.loads(text[s : s + n]) for s, n in zip(spans.starts.tolist(), spans.lengths.tolist(), strict=True)]


@pytest.mark.parametrize(
    "entries",
    [
        "[]",
        " [ ] ",
        "[{}]",
        '[{"a": 1}, {"a": [1, 2]}, {"a": 3}]',
        '[{"a":1},{"a":[1,2]},{"a":3}]',
        '[{"a": 1}, {"a": [1, 2]},  {"a": [3, 4]}, {"a": [1, 2]}, {"a": 5}]',
        '[{"a": 1}, {"a": [1, 2]},{"a": [3, 4]}, {"a": [1, 2]}, {"a": 5}]',
        '[{"a": 1},{"a": [1,2]}, {"a": [3,4]},{"a": [1,2]},{"a": 5}]',
        '[{"a": 1} , {"a": [1 , 2]}, {"a": [3 , 4]} , {"a": "} , {"} , {"a": 5}]',
        '[\n {"a": 1},\n {"a": 2}\n,\n {"a": 3},\r\n\t{"a": 4}]',
        '[1, "x", null, [2, 3], {"a": 4}, true, "} , {"]',
        '[{"a": 1},\n\n\n{"a": 2}, {"a": 3},{"a": 4}]',
        '[{"a": 1},{"b": 2},  {"c": 3}]',
        '[{"ü": "日本𝄞"}, {"a": "ü"}]',
    ],
)
def test_entries_are_found_whatever_is_between_them(entries: str):
    text = f'{{"info": {{"a": [1]}}, "annotations":{entries}, "images" : {entries} ,"categories": [1]}}'.encode()

    layout = scan(text)

    assert decoded(text, layout.annotations) == decoded(text, layout.images) == json.loads(entries)
    assert layout.categories == [1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "{",
        "null",
        f"{{{FEW}}} x",
        f"\ufeff{{{FEW}}}",
        f'{{{FEW}, "images": []}}',
        f'{{{FEW}, "\\u0069mages": []}}',
        f'{{"images": [{{}}], {FEW}}}',
        f'{{{FEW}, "info": {{"a": 1, "a": 2}}}}',
        f'{{{FEW}, "info": 1, "info": 2}}',
        f'{{{FEW}, "info": NaN}}',
        f'{{{FEW}, "info": "\\ud800"}}',
        f'{{{FEW}, "info": {"[" * 3000}{"]" * 3000}}}',
        '{"images": [], "annotations": [], "categories": {}}',
        '{"images": {}, "annotations": [], "categories": []}',
        '{"images": [], "annotations": null, "categories": []}',
        '{"images": [], "categories": []}',
        '{"images": [{"a": Infinity}], "annotations": [], "categories": []}',
        '{"images": [{"a": 01}], "annotations": [], "categories": []}',
        '{"images": [{"a": "\t"}], "annotations": [], "categories": []}',
        '{"images": [{}], "annotations": [{},], "categories": []}',
    ],
)
def test_what_is_no_strict_coco_format_is_refused(text: str):
    with pytest.raises(NotIndexableError):
        scan(text.encode())


@pytest.mark.parametrize("place", [0, 5, 1 << 24, (1 << 24) - 1, (1 << 24) - 2])
def test_bytes_that_are_no_utf_8_are_refused_wherever_they_are(place: int):
    filled = f'{{"info": "{"ü" * ((1 << 23) + 50)}", {FEW}}}'.encode()
    assert scan(filled).categories == []
    text = filled[: 10 + place] + b"\xff" + filled[10 + place + 1 :]

    with pytest.raises(NotIndexableError):
        scan(text)
