"""Class names that matplotlib's font cannot write: another font of the machine does, or the class has its number."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from launcher.train.evaluation.confusion import Confusion
from launcher.train.output import charts, fonts
from launcher.train.output.canvas import Labelled, paint
from launcher.train.output.drawing import names_of
from launcher.train.output.shapes import Shape
from launcher.train.output.sheet import captioned

CAT = "猫"
BOX = Shape(
    class_index=0,
    score=None,
    corners=np.array([(10.0, 40), (60, 40), (60, 80), (10, 80)]),
    mask=None,
    keypoints=None,
    is_crowd=False,
    is_stuff=False,
)


def square(side: int) -> object:
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, side), (side, side), (side, 0)):
        pen.lineTo(corner)
    pen.closePath()
    return pen.glyph()


def write_font(file: Path, characters: str) -> None:
    """A font in which every character is a filled square, and what it lacks a smaller one."""
    builder = FontBuilder(1000, isTTF=True)
    glyphs = {f"u{ord(one):04X}": square(900) for one in characters}
    builder.setupGlyphOrder([".notdef", *glyphs])
    builder.setupCharacterMap({ord(one): f"u{ord(one):04X}" for one in characters})
    builder.setupGlyf({".notdef": square(300), **glyphs})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *glyphs], (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(file)


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the machine's fonts, with one that is damaged."""
    monkeypatch.setattr(fonts, "FOLDERS", (str(tmp_path),))
    (tmp_path / "a damaged one.ttf").write_bytes(b"no font")
    found_before = (fonts.file_for, fonts.class_label, fonts._system_files, fonts._report_missing)
    for one in found_before:
        one.cache_clear()
    yield tmp_path
    for one in found_before:
        one.cache_clear()


@pytest.fixture
def squares(system: Path) -> Path:
    (system / "below").mkdir()
    write_font(system / "below/squares.ttf", f"{CAT}{fonts.WITH_NAMES}")
    return system / "below/squares.ttf"


@pytest.mark.parametrize("name", ["cat", "Kätzchen", "кошка", "γάτα"])
def test_most_alphabets_need_no_other_font(name: str):
    assert fonts.class_label(name, 3) == name


def test_a_font_of_the_machine_writes_what_matplotlibs_does_not(squares: Path):
    assert fonts.file_for(f"{CAT} 0.87") == str(squares)
    assert fonts.class_label(CAT, 3) == CAT
    assert fonts.font_for(f"{CAT} 0.87", 12).path == str(squares)
    assert fonts.font_for("cat", 12).path != str(squares)


def test_without_such_a_font_the_class_has_its_number_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture):
    metadata = SimpleNamespace(get=lambda key: {"thing_classes": ["cat", CAT, "犬"]}.get(key))

    with caplog.at_level(logging.WARNING):
        names = names_of(metadata)

    assert names.things == ["cat", "class 1", "class 2"]
    assert caplog.text.count("No font on this machine") == 1
    assert "fonts-noto-cjk" in caplog.text


def test_a_font_that_lacks_one_character_of_a_name_is_not_taken(squares: Path):
    assert squares.is_file()
    assert fonts.class_label(f"{CAT}犬", 3) == "class 3"


def test_labels_and_captions_are_written_in_it(squares: Path):
    image = np.full((90, 120, 3), 255, dtype=np.uint8)

    with_font = paint(image, [Labelled(shape=BOX, label=CAT, fault="")]), captioned(image, CAT)
    squares.unlink()
    fonts.file_for.cache_clear()
    fonts._system_files.cache_clear()
    without = paint(image, [Labelled(shape=BOX, label=CAT, fault="")]), captioned(image, CAT)

    assert all(
        (one.shape != other.shape) or (one != other).any() for one, other in zip(with_font, without, strict=True)
    )


@pytest.mark.filterwarnings("error:Glyph:UserWarning")
@pytest.mark.parametrize("with_font", [True, False])
def test_charts_name_classes_without_a_missing_glyph(with_font: bool, tmp_path: Path, request: pytest.FixtureRequest):
    if with_font:
        request.getfixturevalue("squares")
    confusion = Confusion(names=(CAT, "dog"), counts=np.eye(3, dtype=np.int64), score=0.5)

    charts.draw_confusion(confusion, tmp_path / "confusion.png")

    assert (tmp_path / "confusion.png").stat().st_size > 1000
