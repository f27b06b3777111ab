"""Draws the charts of a sweep's report as one SVG for the documentation: python scripts/docs/sweep_report.py SWEEP

They are those of `launcher report`, drawn by the JavaScript that the page carries, in a Chromium without a network.
Writes docs/images/sweep_report.svg; docs/sweeps.md says which sweep is shown.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

from launcher.run.found import called
from launcher.sweep.report import figures
from launcher.sweep.report.page import plotly_js
from launcher.sweep.report.values import Report, make_report
from launcher.sweep.standing import standings
from launcher.sweep.stored import read_sweep

TARGET = Path(__file__).parents[2] / "docs/images/sweep_report.svg"
WIDTH, CURVES_HEIGHT, SETTING_HEIGHT = 960, 340, 280
FONT = "Helvetica, Arial, sans-serif"
PAGE = """<!DOCTYPE html><meta charset="utf-8"><body><script>%s</script><script>
(async () => {
  const drawn = [];
  for (const figure of %s)
    drawn.push(await Plotly.toImage(figure, {format: "svg", width: figure.layout.width, height: figure.layout.height}));
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(drawn.map(one => decodeURIComponent(one.split(",")[1])));
})();
</script>"""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="the folder of a sweep")
    report = report_of(parser.parse_args(arguments).sweep.absolute())
    placed = placed_figures(report)
    drawings = draw([figure for figure, _, _ in placed])
    TARGET.write_text(together(drawings, [(left, top) for _, left, top in placed]), encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


def report_of(folder: Path) -> Report:
    """What `launcher report` shows of the sweep in that folder."""
    sweep = read_sweep(folder)
    if sweep is None:
        raise SystemExit(f"{folder} is no sweep")
    return make_report(sweep, standings(sweep, time.time()), name=called(folder), made_at="")


def placed_figures(report: Report) -> list[tuple[figures.Figure, int, int]]:
    """The learning curves above, a chart per setting below, each with its left upper corner."""
    settings = [figure for _, figure in figures.by_setting(report)]
    width = WIDTH // max(1, len(settings))
    below = [(sized(one, width, SETTING_HEIGHT), at * width, CURVES_HEIGHT) for at, one in enumerate(settings)]
    return [(sized(figures.curves(report), WIDTH, CURVES_HEIGHT), 0, 0), *below]


def sized(figure: figures.Figure, width: int, height: int) -> figures.Figure:
    """In a font that every viewer of SVG has: an image cannot bring one."""
    layout: Mapping[str, Any] = {**figure["layout"], "width": width, "height": height, "font": {"family": FONT}}
    return {**figure, "layout": layout}


def draw(shown: Sequence[figures.Figure]) -> list[str]:
    """Each as an SVG element."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("This draws with a browser: install Chromium.")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "charts.html")
        page.write_text(PAGE % (plotly_js(), json.dumps(shown)), encoding="utf-8")
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
        offline = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile"]
        done = subprocess.run([*command, *offline, "--dump-dom", page.as_uri()], capture_output=True, check=True)
    found = re.search(r"<pre>(.*)</pre>", done.stdout.decode(), re.DOTALL)
    assert found is not None, "the browser drew nothing"
    return [str(one) for one in json.loads(unescape(found[1]))]


def together(drawings: Sequence[str], corners: Sequence[tuple[int, int]]) -> str:
    """One SVG on white, whatever the page around it has."""
    height = CURVES_HEIGHT + (SETTING_HEIGHT if len(drawings) > 1 else 0)
    parts = [
        re.sub(r"^<svg", f'<svg x="{left}" y="{top}"', with_steady_ids(one, at))
        for at, (one, (left, top)) in enumerate(zip(drawings, corners, strict=True))
    ]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def with_steady_ids(drawing: str, number: int) -> str:
    """Plotly draws its names of parts anew each time; the same sweep is to give the same file."""
    return re.sub(r"\b(clip|topdefs-|defs-|legend|trace)[0-9a-f]{6}", rf"\g<1>{number}", drawing)


if __name__ == "__main__":
    main(sys.argv[1:])
