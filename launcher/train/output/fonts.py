"""Fonts that have the characters of a text: the one that matplotlib brings, else one of the system's."""

from __future__ import annotations

import logging
import os
import string
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

logger = logging.getLogger(__name__)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts"),
)
KNOWN = ("cjk", "sourcehan", "fallback", "wqy", "unifont", "unicode", "gothic", "mincho", "song", "hei", "nanum", "ipa")
"""Parts of the names of files that have many characters; they are tried first."""
MOST_TRIED = 300
_PROBED_AT = 16
"""Pixels: glyphs are compared at this size."""
WITH_NAMES = "0123456789.…"
"""What is written beside names, in the same font."""
_NO_CHARACTER = "\uffff"


def font_for(text: str, size: int) -> Font:
    """One that has every character of the text, where there is one."""
    return _font_in(file_for(text) or _own_file(), size)


@cache
def _font_in(file: str, size: int) -> Font:
    try:
        return ImageFont.truetype(file, size)
    except OSError:
        return ImageFont.load_default(size)


@cache
def class_label(name: str, index: int) -> str:
    """What a class is called in an image: its name, or its number where no font has the name's characters."""
    if name.isascii() or file_for(name):
        return name
    _report_missing()
    return f"class {index}"


@cache
def _report_missing() -> None:
    logger.warning(
        "No font on this machine has the characters of some class names: in images these classes are drawn by number. "
        "Install a font that has them, such as Noto Sans CJK (`apt install fonts-noto-cjk`), or copy one to "
        "~/.local/share/fonts"
    )


@cache
def file_for(text: str) -> str:
    """The file of a font that has every character of the text; empty where there is none, or none is needed."""
    if text.isascii():
        return ""
    characters = frozenset(text) - frozenset(string.whitespace) | frozenset(WITH_NAMES)
    if _has_all(_own_file(), characters):
        return _own_file()
    return next((file for file in _system_files() if _has_all(file, characters)), "")


@cache
def _own_file() -> str:
    name = "DejaVuSans.ttf"
    found = find_spec("matplotlib")
    folders = found.submodule_search_locations or () if found else ()
    return next((str(file) for folder in folders if (file := Path(folder, "mpl-data/fonts/ttf", name)).is_file()), name)


@cache
def _system_files() -> tuple[str, ...]:
    files = sorted(file for folder in FOLDERS for file in _fonts_below(os.path.expanduser(folder)))
    ordered = sorted(files, key=lambda file: not any(part in os.path.basename(file).lower() for part in KNOWN))
    return tuple(ordered[:MOST_TRIED])


def _fonts_below(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from (os.path.join(parent, name) for name in names if name.lower().endswith((".ttf", ".ttc", ".otf")))


def _has_all(file: str, characters: Iterable[str]) -> bool:
    return all(_has(file, character) for character in characters)


@cache
def _has(file: str, character: str) -> bool:
    font = _opened(file)
    return font is not None and _glyph(font, character) != _glyph(font, _NO_CHARACTER)


@cache
def _opened(file: str) -> ImageFont.FreeTypeFont | None:
    """None for a font that is damaged, or only of other sizes."""
    try:
        return ImageFont.truetype(file, _PROBED_AT)
    except OSError:
        return None


def _glyph(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    drawn = font.getmask(character)
    return drawn.size, bytes(drawn)
