"""docs/settings.md has every setting, with what its own docstring says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from launcher.config.known_keys import NO_KEYS
from launcher.config.schema import make_schema, setting_names

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts/docs/settings.py"))
ROWS = {row.name: row for row in SCRIPT["settings"]()}


def test_the_page_of_settings_is_what_the_settings_say():
    assert SCRIPT["PAGE"].read_text() == SCRIPT["page"](), "run python scripts/docs/settings.py"


def test_every_setting_that_can_be_typed_is_on_the_page_and_nothing_else():
    schema = make_schema(NO_KEYS)

    assert set(ROWS) == set(setting_names(schema))


@pytest.mark.parametrize("name", ROWS)
def test_a_setting_and_its_options_say_what_they_mean(name: str):
    for meaning in (ROWS[name].meaning, *(meaning for _, meaning in ROWS[name].options)):
        assert meaning.endswith(".")
        assert meaning[0].isupper() or meaning.startswith(("`", "bfloat16"))


@pytest.mark.parametrize(
    ("name", "another_run"),
    [
        ("device.count", "no"),
        ("checkpoint.async", "no"),
        ("dataset.max_bad", "no"),
        ("dataset.kind", "yes"),
        ("dataset.train.json", "yes"),
        ("dataset.val.json", "by name"),
        ("ema.decay", "yes"),
        ("scaling", "by name; `linear`: yes"),
        ("run.name", "other folder"),
        ("config_extensions", "by name"),
        ("imports", "yes"),
        ("trainer", "yes"),
    ],
)
def test_what_makes_another_run_is_tried(name: str, another_run: str):
    assert ROWS[name].another_run == another_run
