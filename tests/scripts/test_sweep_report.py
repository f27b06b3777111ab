"""The image of a sweep's report in the documentation: what a browser drew, put together."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts/docs/sweep_report.py"))


@pytest.mark.parametrize("drawn_as", ["2c5144", "714156"])
def test_the_same_charts_give_the_same_file_whatever_plotly_called_their_parts(drawn_as: str):
    drawing = f'<svg><clipPath id="clip{drawn_as}xy"/><g clip-path="url(#clip{drawn_as}xy)" fill="#{drawn_as}"/>'

    steady = SCRIPT["with_steady_ids"](drawing, 3)

    assert steady == f'<svg><clipPath id="clip3xy"/><g clip-path="url(#clip3xy)" fill="#{drawn_as}"/>'


def test_charts_stand_where_they_were_placed_on_white():
    text = SCRIPT["together"](['<svg width="960"></svg>', '<svg width="480"></svg>'], [(0, 0), (480, 340)])

    assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 620"')
    assert 'fill="white"' in text
    assert '<svg x="480" y="340" width="480"></svg>' in text
