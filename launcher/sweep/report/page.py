"""A report as one HTML page, with everything inside of it that it needs."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from launcher.device.causes.catalogue import BY_CODE
from launcher.errors import RequestError
from launcher.show.runs import period_text
from launcher.sweep.report import figures
from launcher.sweep.report.importance import FEWEST, MEANING, NAME
from launcher.sweep.report.values import Report, ReportedJob
from launcher.sweep.text import state_text
from launcher.sweep.values import JobState

MISSING = "launcher report needs Plotly, which is not installed. Install it: pip install 'detectron2-launcher[report]'"
# Nothing is fetched: a browser refuses whatever the page, or a name in it, would ask a network for.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'"
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.best { font-weight: 600; } .wide { overflow-x: auto; }
code, pre { font: 12.5px/1.5 ui-monospace, monospace; background: #f4f4f4; padding: 1px 4px; border-radius: 3px; }
pre { padding: 8px 10px; white-space: pre-wrap; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 8px; }
.note { color: #666; } .failed { color: #b00020; } .pruned { color: #b35900; }
"""
# The buttons are named: among Plotly's own is one that uploads a chart.
DRAW = """
const config = {displaylogo: false, responsive: true, showSendToCloud: false,
                modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};
for (const chart of document.querySelectorAll('script[type="application/json"]')) {
  const figure = JSON.parse(chart.textContent);
  Plotly.newPlot(chart.dataset.at, figure.data, figure.layout, config);
}
"""


def plotly_js() -> str:
    """Plotly's JavaScript, which the page carries.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return str(importlib.import_module("plotly.offline").get_plotlyjs())
    except ImportError as error:
        raise RequestError(MISSING) from error


def page(report: Report, script: str) -> str:
    """The whole page; `script` is what `plotly_js` gives."""
    body = "\n".join(_body(report))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(report.name)}</title>\n<style>{STYLE}</style>\n<script>{script}</script>\n</head>\n"
        f"<body>\n{body}\n<script>{DRAW}</script>\n</body>\n</html>\n"
    )


def _body(report: Report) -> Iterator[str]:
    yield from _head(report)
    yield from _jobs(report)
    if any(job.curve for job in report.jobs):
        yield "<h2>Learning curves</h2>"
        yield _chart("curves", figures.curves(report))
    yield from _settings(report)
    yield from _importance(report)
    yield from _failures(report)


def _head(report: Report) -> Iterator[str]:
    yield f"<h1>{escape(report.name)}</h1>"
    states = [job.state for job in report.jobs]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in JobState if state in states)
    order = "larger" if report.mode == "max" else "smaller"
    metric = f"; compared by {escape(report.metric)}, where the {order} value is better" if report.metric else ""
    made = f'<span class="note">Made {escape(report.made_at)} of {_code(report.folder)}</span>'
    yield f"<p>{counts or 'no jobs'}{metric}. {made}</p>"
    yield f"<pre>{escape(report.command)}</pre>"
    if report.best:
        yield f"<p>Best: <strong>{escape(report.best)}</strong>. What trains it again:</p>"
        yield f"<pre>{escape(report.best_command)}</pre>"


def _jobs(report: Report) -> Iterator[str]:
    yield "<h2>Jobs</h2>"
    head = ["job", *report.keys, "state", report.metric or "metric", "iterations", "time"]
    yield _table(head, (_row(job, report) for job in report.jobs))


def _row(job: ReportedJob, report: Report) -> str:
    value = "" if job.value is None else f"{job.value:.4g}"
    cells = [str(job.number), *(job.settings.get(key, "") for key in report.keys)]
    rest = [value, str(job.iterations), period_text(job.seconds) if job.seconds else ""]
    best = ' class="best"' if job.name == report.best else ""
    return f"<tr{best}>{_cells(cells)}{_state(job)}{_cells(rest)}</tr>"


def _settings(report: Report) -> Iterator[str]:
    charts = [_chart(f"setting{at}", figure) for at, (_, figure) in enumerate(figures.by_setting(report))]
    if charts:
        yield f"<h2>{escape(report.metric)} by setting</h2>"
        yield f'<div class="charts">{"".join(charts)}</div>'
    if (together := figures.parallel(report)) is not None:
        yield "<h2>All settings together</h2>"
        yield _chart("parallel", together)


def _importance(report: Report) -> Iterator[str]:
    yield "<h2>Importance</h2>"
    figure = figures.importance(report)
    if figure is None:
        yield f'<p class="note">It takes {FEWEST} jobs that finished with a value to say which setting matters.</p>'
        return
    yield _chart("importance", figure)
    yield f'<p class="note">{escape(NAME.capitalize())}: {escape(MEANING)}</p>'


def _failures(report: Report) -> Iterator[str]:
    ended = [job for job in report.jobs if job.why or job.state is JobState.failed]
    if not ended:
        return
    yield "<h2>Failed and pruned jobs</h2>"
    rows = (
        f"<tr>{_cells([str(job.number), job.name])}{_state(job)}{_cells([job.why, _meaning(job.code)])}</tr>"
        for job in ended
    )
    yield _table(["job", "name", "state", "why", "what that means"], rows)


def _meaning(code: str) -> str:
    return BY_CODE[code].title if code in BY_CODE else ""


def _state(job: ReportedJob) -> str:
    return f'<td class="{job.state.value}">{escape(state_text(job.state, job.code))}</td>'


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="wide"><table>\n<tr>{names}</tr>\n{chr(10).join(rows)}\n</table></div>'


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _chart(name: str, figure: dict[str, Any]) -> str:
    return f'<div id="{name}"></div><script type="application/json" data-at="{name}">{as_script(figure)}</script>'


def as_script(value: Any) -> str:
    """As a script element can hold it: nothing in it ends the element, or begins another."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
