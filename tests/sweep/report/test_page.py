"""The page of a report: complete, closed, and nobody's names are markup in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from launcher.run import codes
from launcher.sweep.report.page import as_script, page, plotly_js
from launcher.sweep.values import JobState
from tests.sweep.report.reports import HOSTILE, a_job, a_report

FULL = a_report(
    a_job(3),
    a_job(2),
    a_job(1, state=JobState.pruned, why="bbox/AP of 3 was not enough"),
    a_job(4, state=JobState.failed, value=None, curve=(), code=codes.DIVERGED, why="loss_cls is NaN"),
    importance={"SOLVER.BASE_LR": 0.7, "MODEL.LOSS": 0.1},
)
HOSTILE_REPORT = a_report(
    a_job(1, name=HOSTILE, settings={"SOLVER.BASE_LR": HOSTILE}),
    a_job(2, state=JobState.failed, code=HOSTILE, why=HOSTILE),
    name=HOSTILE,
    folder=HOSTILE,
    command=HOSTILE,
    metric=HOSTILE,
    keys=(HOSTILE, "SOLVER.BASE_LR"),
    best=HOSTILE,
    best_command=HOSTILE,
    importance={HOSTILE: 0.5},
    made_at=HOSTILE,
)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Seen(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.charts: list[dict] = []
        self.texts: list[str] = []
        self._is_chart = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._is_chart = ("type", "application/json") in attrs

    def handle_data(self, data: str) -> None:
        if self._is_chart:
            self.charts.append(json.loads(data))
            self._is_chart = False
        self.texts.append(data)


def test_a_page_has_the_jobs_their_charts_and_what_failed():
    seen = Seen(page(FULL, script=""))

    text = " ".join(seen.texts)
    assert "2 finished, 1 failed, 1 pruned; compared by bbox/AP, where the larger value is better" in text
    assert "Best: " in text
    assert "failed [run.diverged]" in text
    assert "the loss is NaN or Inf" in text
    assert "bbox/AP of 3 was not enough" in text
    assert len(seen.charts) == 5, "curves, two settings, all together, importance"


@pytest.mark.parametrize("report", [FULL, HOSTILE_REPORT, a_report()], ids=["full", "hostile", "empty"])
def test_names_are_text_and_nothing_else(report):
    seen = Seen(page(report, script=""))

    assert set(seen.tags) <= {
        *("html", "head", "meta", "title", "style", "script", "body", "h1", "h2", "p", "span", "code", "pre"),
        *("strong", "div", "table", "tr", "th", "td"),
    }
    assert {name for name, _ in seen.attributes} <= {
        *("lang", "charset", "http-equiv", "content", "class", "id", "type", "data-at"),
    }


def test_what_a_script_element_holds_cannot_end_it():
    text = as_script({"name": HOSTILE})

    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": HOSTILE}


def test_what_is_hostile_can_be_read():
    seen = Seen(page(HOSTILE_REPORT, script=""))

    assert sum(HOSTILE in text for text in seen.texts) >= 8


def test_a_browser_is_told_to_ask_no_network():
    policies = [value for name, value in Seen(page(FULL, script="")).attributes if name == "content"]

    assert len(policies) == 1
    assert "default-src 'none'" in (policies[0] or "")
    assert "connect-src" not in (policies[0] or "")


def test_the_button_that_uploads_a_chart_is_not_there():
    text = page(FULL, script="")

    assert 'modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]' in text
    assert "showSendToCloud: false" in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
@pytest.mark.parametrize("report", [FULL, HOSTILE_REPORT], ids=["full", "hostile"])
def test_a_browser_without_a_network_draws_every_chart(tmp_path: Path, report):
    file = tmp_path / "report.html"
    file.write_text(page(report, plotly_js()), encoding="utf-8")

    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    offline = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, *offline, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )

    wanted = len(Seen(page(report, script="")).charts)
    assert len(re.findall(r'class="[^"]*js-plotly-plot', done.stdout)) == wanted
    assert done.stdout.count("main-svg") >= wanted
    assert "<img" not in re.sub(r"(?s)<(script|style).*?</\1>", "", done.stdout)
