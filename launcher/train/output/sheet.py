"""Several images on one sheet, with captions, saved as a PNG."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from launcher.errors import printable
from launcher.files import beside
from launcher.train.output.fonts import font_for

logger = logging.getLogger(__name__)

Tile = np.ndarray
"""RGB, uint8, (height, width, 3)."""

SHEET_WIDTH = 1800  # pixels; a single tile may be wider
CAPTION_SIZE = 13
CAPTION_HEIGHT = 20
GAP = 6


def captioned(tile: Tile, text: str) -> Tile:
    """With a line of text below it."""
    return _framed(tile, text, above=False)


def headed(tile: Tile, text: str) -> Tile:
    """With a line of text above it."""
    return _framed(tile, text, above=True)


def _framed(tile: Tile, text: str, *, above: bool) -> Tile:
    height, width = tile.shape[:2]
    framed = Image.new("RGB", (width, height + CAPTION_HEIGHT), "white")
    framed.paste(Image.fromarray(tile), (0, CAPTION_HEIGHT if above else 0))
    _write(framed, text, (2, CAPTION_HEIGHT // 2 if above else height + CAPTION_HEIGHT // 2), width - 4)
    return np.asarray(framed)


def in_a_row(tiles: Sequence[Tile]) -> Tile:
    width = sum(tile.shape[1] for tile in tiles) + GAP // 2 * (len(tiles) - 1)
    row = Image.new("RGB", (width, max(tile.shape[0] for tile in tiles)), "white")
    left = 0
    for tile in tiles:
        row.paste(Image.fromarray(tile), (left, 0))
        left += tile.shape[1] + GAP // 2
    return np.asarray(row)


def _write(image: Image.Image, text: str, place: tuple[int, int], width: int) -> None:
    """Text that begins at the middle of its left side; what is too long ends in dots."""
    text = printable(text)
    draw, font = ImageDraw.Draw(image), font_for(text, CAPTION_SIZE)
    while draw.textlength(text, font=font) > width and len(text) > 1:
        text = text[:-2] + "…"
    draw.text(place, text, font=font, fill="black", anchor="lm")


def save_sheet(tiles: Sequence[Tile], file: Path, *, heading: str = "") -> np.ndarray | None:
    """Put tiles of different sizes in rows, save them as a PNG and return them as (3, height, width); None for none.

    A disk that does not take the file is no reason to end a training.
    """
    if not tiles:
        return None
    sheet = _arranged(tiles)
    if heading:
        sheet = headed(sheet, heading)
    save_png(sheet, file)
    return np.ascontiguousarray(sheet.transpose(2, 0, 1))


def save_png(image: np.ndarray, file: Path) -> None:
    """Write beside and rename; where that fails, there is a warning and no file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with beside(file) as draft:
            Image.fromarray(image).save(draft, format="PNG", compress_level=3)
            draft.replace(file)
    except OSError as error:
        logger.warning("%s could not be written (%s)", file, error.strerror or error)


def _arranged(tiles: Sequence[Tile]) -> Tile:
    rows = _rows(tiles)
    width = max(sum(tile.shape[1] + GAP for tile in row) for row in rows)
    height = sum(max(tile.shape[0] for tile in row) + GAP for row in rows)
    sheet = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        left = 0
        for tile in row:
            sheet.paste(Image.fromarray(tile), (left, top))
            left += tile.shape[1] + GAP
        top += max(tile.shape[0] for tile in row) + GAP
    return np.asarray(sheet)


def _rows(tiles: Sequence[Tile]) -> list[list[Tile]]:
    rows: list[list[Tile]] = [[]]
    for tile in tiles:
        if rows[-1] and sum(one.shape[1] + GAP for one in rows[-1]) + tile.shape[1] > SHEET_WIDTH:
            rows.append([])
        rows[-1].append(tile)
    return rows
