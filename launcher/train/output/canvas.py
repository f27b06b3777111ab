"""Draws objects on an image: masks, boxes and keypoints in one colour per class, names that can be read anywhere."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from launcher.train.output.fonts import font_for
from launcher.train.output.shapes import Mask, Shape

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

PALETTE: tuple[Colour, ...] = (
    (230, 25, 75),
    (0, 130, 200),
    (245, 130, 48),
    (60, 180, 75),
    (145, 30, 180),
    (255, 225, 25),
    (70, 240, 240),
    (240, 50, 230),
    (170, 110, 40),
    (210, 245, 60),
    (0, 0, 128),
    (250, 190, 212),
)
"""Of the first classes; easy to tell apart, also in small pieces."""
GOLDEN = 0.618034
STUFF_FROM = 53
WRONG: Colour = (200, 0, 0)
MISSED, FALSE = "missed", "false"
"""What is written on a missed object and on a false positive."""
PADDING = 2  # pixels around a label's text


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A shape and what is written on it."""

    shape: Shape
    label: str
    fault: str
    """What is wrong with it, in red; its outline is dashed then. Empty where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """Sizes in pixels of the finished image."""

    line: int
    text: int
    mask_opacity: float

    @classmethod
    def for_size(cls, width: int, height: int) -> Style:
        side = min(width, height)
        return cls(line=max(2, round(side / 300)), text=max(12, round(side / 45)), mask_opacity=0.35)


def colour_of(class_index: int) -> Colour:
    """The same for a class in every image; of many classes some are alike."""
    if class_index < len(PALETTE):
        return PALETTE[class_index]
    step = class_index - len(PALETTE)
    red, green, blue = colorsys.hsv_to_rgb((step * GOLDEN) % 1, (1.0, 0.6)[step % 2], (0.9, 0.7, 1.0)[step % 3])
    return round(255 * red), round(255 * green), round(255 * blue)


def colour_for(shape: Shape) -> Colour:
    """That of its class; stuff has others than things of the same number."""
    return colour_of(shape.class_index + (STUFF_FROM if shape.is_stuff else 0))


def text_on(colour: Colour) -> Colour:
    """Black or white, whichever is easier to read on it."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def paint(
    image: np.ndarray,
    objects: Sequence[Labelled],
    *,
    scale: float = 1.0,
    style: Style | None = None,
    skeleton: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """Draw objects on a copy of an RGB image of uint8, `scale` times as large; `skeleton` joins keypoints.

    The first of the objects are drawn last, over the others.
    """
    style = style or Style.for_size(*(round(side * scale) for side in image.shape[:2]))
    canvas = _Canvas(_with_masks(image, objects, scale, style), scale, style)
    for one in reversed(objects):
        canvas.outline(one)
    for one in reversed(objects):
        canvas.keypoints(one.shape, skeleton)
    for one in objects:  # the first finds the best place for its label
        canvas.label(one)
    return np.asarray(canvas.image)


def _with_masks(image: np.ndarray, objects: Sequence[Labelled], scale: float, style: Style) -> Image.Image:
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    painted = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    for one in reversed(objects):
        if one.shape.mask is not None:
            _paint_mask(painted, one.shape.mask, colour_for(one.shape), scale, style)
    return painted


def _paint_mask(painted: Image.Image, mask: Mask, colour: Colour, scale: float, style: Style) -> None:
    left, top, right, bottom = (round(side * scale) for side in mask.bounds)
    size = max(1, right - left), max(1, bottom - top)
    enlarged = Image.fromarray(mask.pixels.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    inside = np.asarray(enlarged) > 127
    opacity = inside * (style.mask_opacity * 255) + _edge(inside) * ((0.9 - style.mask_opacity) * 255)
    painted.paste(colour, (left, top, left + size[0], top + size[1]), Image.fromarray(opacity.astype(np.uint8)))


def _edge(inside: np.ndarray) -> np.ndarray:
    """The pixels of a mask that have a neighbour outside of it."""
    padded = np.pad(inside, 1)
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(inside & ~surrounded)


class _Canvas:
    """Draws lines and text on an image; labels keep out of each other's way where they can."""

    def __init__(self, image: Image.Image, scale: float, style: Style) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image)
        self._scale = scale
        self._style = style
        self._taken: list[Rectangle] = []

    def outline(self, one: Labelled) -> None:
        if one.shape.corners is None:
            return
        corners = [(float(x), float(y)) for x, y in one.shape.corners * self._scale]
        line, colour = self._style.line, colour_for(one.shape)
        dash = line * 4 if one.fault else 0
        for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
            self._line(start, end, text_on(colour), line + 2, dash)
            self._line(start, end, colour, line, dash)

    def _line(
        self, start: tuple[float, float], end: tuple[float, float], colour: Colour, width: int, dash: int
    ) -> None:
        if not dash:
            self._draw.line([start, end], fill=colour, width=width)
            return
        begin, finish = np.array(start), np.array(end)
        pieces = max(1, int(np.linalg.norm(finish - begin) // (2 * dash)))
        for number in range(pieces):
            first, last = (begin + (finish - begin) * (number + part) / pieces for part in (0.0, 0.6))
            self._draw.line([tuple(first.tolist()), tuple(last.tolist())], fill=colour, width=width)

    def keypoints(self, shape: Shape, skeleton: Sequence[tuple[int, int]]) -> None:
        if shape.keypoints is None:
            return
        points, colour, radius = shape.keypoints, colour_for(shape), self._style.line + 1
        shown = {index: (x * self._scale, y * self._scale) for index, (x, y, seen) in enumerate(points) if seen > 0}
        for one, other in skeleton:
            if one in shown and other in shown:
                self._draw.line([shown[one], shown[other]], fill=colour, width=self._style.line)
        for x, y in shown.values():
            around = (x - radius, y - radius, x + radius, y + radius)
            self._draw.ellipse(around, fill=colour, outline=text_on(colour))

    def label(self, one: Labelled) -> None:
        parts = [(one.label, colour_for(one.shape))] if one.label else []
        if one.fault:
            parts.append((one.fault, WRONG))
        if not parts:
            return
        fonts = [font_for(text, self._style.text) for text, _ in parts]
        widths = [
            self._draw.textlength(text, font=font) + 2 * PADDING for (text, _), font in zip(parts, fonts, strict=True)
        ]
        size = sum(widths), self._style.text + 2 * PADDING + 2
        left, top = self._place(one.shape, size)
        for (text, colour), font, width in zip(parts, fonts, widths, strict=True):
            area = (left, top, left + width, top + size[1])
            self._draw.rectangle(area, fill=colour, outline=text_on(colour))
            middle = (left + PADDING, top + size[1] / 2)
            self._draw.text(middle, text, font=font, fill=text_on(colour), anchor="lm")
            left += width

    def _place(self, shape: Shape, size: tuple[float, float]) -> tuple[float, float]:
        """Above the object, in it or below it, wherever most of the label is free."""
        left, top, right, bottom = (side * self._scale for side in shape.bounds)
        width, height = size
        if shape.corners is None and shape.mask is not None:
            middle = [side * self._scale for side in shape.mask.innermost]
            return self._taking((middle[0] - width / 2, middle[1] - height / 2), size)
        wanted = [
            (left, top - height),
            (left, top),
            (right - width, top - height),
            (left, bottom),
            (right - width, bottom),
            (left, bottom - height),
        ]
        inside = [self._moved_inside(place, size) for place in wanted]
        best = min(inside, key=lambda place: self._hidden((*place, place[0] + width, place[1] + height)))
        return self._taking(best, size)

    def _taking(self, place: tuple[float, float], size: tuple[float, float]) -> tuple[float, float]:
        x, y = self._moved_inside(place, size)
        self._taken.append((x, y, x + size[0], y + size[1]))
        return x, y

    def _moved_inside(self, place: tuple[float, float], size: tuple[float, float]) -> tuple[float, float]:
        x, y = (
            max(0.0, min(at, limit - side - 1)) for at, limit, side in zip(place, self.image.size, size, strict=True)
        )
        return x, y

    def _hidden(self, label: Rectangle) -> float:
        return sum(_overlap(label, other) for other in self._taken)


def _overlap(one: Rectangle, other: Rectangle) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
