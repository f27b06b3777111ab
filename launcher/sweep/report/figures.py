"""The charts of a report, as what Plotly's JavaScript draws. Only data: nothing of HTML, and nothing is drawn here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from launcher.sweep.curves import Curve
from launcher.sweep.report.settings import as_numbers, is_logarithmic
from launcher.sweep.report.values import Report, ReportedJob
from launcher.sweep.values import JobState

Figure = dict[str, Any]
PLAIN: dict[str, Any] = {"margin": {"l": 60, "r": 20, "t": 40, "b": 50}, "font": {"family": "system-ui, sans-serif"}}
COLORS = {
    JobState.finished: "#1f77b4",
    JobState.pruned: "#ff7f0e",
    JobState.failed: "#d62728",
    JobState.running: "#2ca02c",
}
COLD, WARM = (150, 170, 200), (200, 30, 40)
OTHER_COLOR = "#7f7f7f"
NO_SETTING = "(none)"
LONGEST_LABEL = 60


def curves(report: Report) -> Figure:
    """The metric of every job against its iterations; the best job stands out."""
    jobs = [job for job in reversed(report.jobs) if job.curve]
    traces = [_curve_of(job, is_best=job.name == report.best) for job in jobs]
    figure = _figure(traces, x="iterations", y=report.metric, height=420)
    figure["layout"]["legend"] = {"traceorder": "reversed"}  # the best is drawn last, and named first
    return figure


def by_setting(report: Report) -> Iterator[tuple[str, Figure]]:
    """The metric against each setting, one chart for each."""
    jobs = [job for job in report.jobs if job.value is not None]
    for key in report.keys if jobs else ():
        yield key, _scatter(report, key, jobs)


def parallel(report: Report) -> Figure | None:
    """All settings and the metric beside each other, a line per job; None where there is nothing to compare.

    Of plain lines: Plotly's own parallel coordinates need WebGL, which a browser on a remote desktop often lacks.
    """
    jobs = report.measured
    if len(jobs) < 2 or not report.keys:
        return None
    columns = [(key, [job.settings.get(key, NO_SETTING) for job in jobs]) for key in report.keys]
    axes = [*(_axis(key, texts) for key, texts in columns), _axis(report.metric, [repr(job.value) for job in jobs])]
    order = sorted(range(len(jobs)), key=lambda at: axes[-1].places[at], reverse=report.mode == "min")
    traces = [
        _line(jobs[at], [axis.places[at] for axis in axes], rank / (len(jobs) - 1)) for rank, at in enumerate(order)
    ]
    figure = _figure(traces, x="", y="", height=420)
    figure["layout"] |= {
        "showlegend": False,
        "hovermode": "closest",
        "margin": {**PLAIN["margin"], "b": 70},
        "xaxis": {"range": [-0.3, len(axes) - 0.7], "zeroline": False, "showgrid": True, "automargin": True,
                  "tickvals": list(range(len(axes))), "ticktext": [plain(axis.name) for axis in axes]},
        "yaxis": {"visible": False, "range": [-0.05, 1.05]},
        "annotations": [_mark(at, *mark) for at, axis in enumerate(axes) for mark in axis.marks],
    }  # fmt: skip
    return figure


def importance(report: Report) -> Figure | None:
    """None where there are too few jobs to say anything."""
    if not report.importance:
        return None
    shown = [*report.importance.items()][::-1]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [value for _, value in shown],
        "y": [plain(key) for key, _ in shown],
        "marker": {"color": COLORS[JobState.finished]},
        "hovertemplate": "%{x:.2f}<extra></extra>",
    }
    figure = _figure([trace], x="fraction of the variance explained", y="", height=120 + 30 * len(shown))
    figure["layout"]["xaxis"]["range"] = [0, 1]
    figure["layout"]["yaxis"]["automargin"] = True
    return figure


def plain(text: str) -> str:
    """As Plotly shows it letter for letter: it takes tags and entities in labels for markup."""
    short = text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
    return escape(short, quote=False)


def _curve_of(job: ReportedJob, *, is_best: bool) -> dict[str, Any]:
    # A step that was NaN or Inf is a gap: JSON has no word for it.
    values = [one.value if math.isfinite(one.value) else None for one in job.curve]
    return {
        "type": "scatter",
        "mode": "lines+markers" if _is_short(job.curve) else "lines",
        "x": [one.iterations for one in job.curve],
        "y": values,
        "name": plain(f"{job.number}: {job.name}"),
        "line": {"width": 4 if is_best else 1.5, "dash": "dot" if job.state is JobState.pruned else "solid"},
        "marker": {"size": 7 if is_best else 5},
    }


def _is_short(curve: Curve) -> bool:
    return len(curve) <= 20


def _scatter(report: Report, key: str, jobs: Sequence[ReportedJob]) -> Figure:
    texts = [job.settings.get(key, NO_SETTING) for job in jobs]
    numbers = as_numbers(texts)
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": state.value,
            "x": [numbers[at] if numbers is not None else plain(texts[at]) for at in places],
            "y": [jobs[at].value for at in places],
            "text": [plain(f"{jobs[at].number}: {jobs[at].name}") for at in places],
            "hovertemplate": "%{text}<br>%{y:.4g}<extra></extra>",
            "marker": {
                "size": 9,
                "color": COLORS.get(state, OTHER_COLOR),
                "symbol": "circle" if state is JobState.finished else "circle-open",
            },
        }
        for state in JobState
        if (places := [at for at, job in enumerate(jobs) if job.state is state])
    ]
    figure = _figure(traces, x=key, y=report.metric, height=320)
    figure["layout"]["xaxis"] |= {"type": "category" if numbers is None else _scale(numbers), "automargin": True}
    return figure


def _scale(numbers: Sequence[float]) -> str:
    return "log" if is_logarithmic(numbers) else "linear"


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One column of parallel coordinates."""

    name: str
    places: list[float]
    """Of each job, from 0 at the bottom to 1."""
    marks: list[tuple[float, str]]
    """Places with what they stand for."""


def _axis(name: str, texts: Sequence[str]) -> _Axis:
    numbers = as_numbers(texts)
    if numbers is None:
        names = list(dict.fromkeys(texts))
        place_of = {text: _between(at, 0, len(names) - 1) for at, text in enumerate(names)}
        marks = [(place, text) for text, place in place_of.items()]
        return _Axis(name=name, places=[place_of[text] for text in texts], marks=marks)
    scaled = [math.log10(number) for number in numbers] if is_logarithmic(numbers) else numbers
    low, high = min(scaled), max(scaled)
    ends = {0.0: min(numbers), 1.0: max(numbers)} if high > low else {0.5: numbers[0]}
    return _Axis(
        name=name,
        places=[_between(number, low, high) for number in scaled],
        marks=[(place, f"{number:.4g}") for place, number in ends.items()],
    )


def _between(number: float, low: float, high: float) -> float:
    return (number - low) / (high - low) if high > low else 0.5


def _line(job: ReportedJob, places: Sequence[float], rank: float) -> dict[str, Any]:
    """The better the rank, the warmer the colour: from 0 for the worst job to 1 for the best."""
    red, green, blue = (round(cold + rank * (warm - cold)) for cold, warm in zip(COLD, WARM, strict=True))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(range(len(places))),
        "y": list(places),
        "line": {"color": f"rgb({red},{green},{blue})", "width": 1 + 2 * rank},
        "opacity": 0.35 + 0.65 * rank,
        "text": [plain(f"{job.number}: {job.name}")] * len(places),
        "hovertemplate": f"%{{text}}<br>{job.value:.4g}<extra></extra>",
    }


def _mark(axis: int, place: float, text: str) -> dict[str, Any]:
    return {"x": axis, "y": place, "text": plain(text), "showarrow": False, "xanchor": "left", "xshift": 4,
            "bgcolor": "rgba(255,255,255,0.8)", "font": {"size": 11}}  # fmt: skip


def _figure(traces: list[dict[str, Any]], *, x: str, y: str, height: int) -> Figure:
    layout = {
        **PLAIN,
        "height": height,
        "xaxis": {"title": {"text": plain(x)}},
        "yaxis": {"title": {"text": plain(y)}},
        "showlegend": len(traces) > 1,
    }
    return {"data": traces, "layout": layout}
