"""Every cause is written once and in full, and everything that names causes names these."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.device.causes.catalogue import BY_CODE, CAUSES, GROUPS, group_of
from launcher.device.causes.cause import Cause
from launcher.device.causes.diagnose import diagnose
from launcher.device.causes.error_text import find_causes
from launcher.device.facts import DeviceFacts
from launcher.errors import LauncherError
from launcher.run import codes
from tests.device.causes.test_diagnose import MACHINES, VARIATIONS

ROOT = Path(__file__).parents[3]
IS_FOUND = [cause for cause in CAUSES if cause.find or cause.find_on_gpu]
# No finding has this one: it says why a GPU is left out that nothing is wrong with.
WITHOUT_FINDING = {"visible.hidden", "limits.processes"}


def kinds_of(error: type[LauncherError]) -> Iterator[type[LauncherError]]:
    yield error
    for kind in error.__subclasses__():
        yield from kinds_of(kind)


OUTCOMES = {
    *(value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str) and value),
    *codes.DEVICE,
    *(kind.code for kind in kinds_of(LauncherError)),
}


def test_no_code_is_there_twice_and_each_has_its_group():
    assert len(BY_CODE) == len(CAUSES)
    assert {group_of(code) for code in BY_CODE} == set(GROUPS)


def test_what_can_be_found_on_a_machine_has_a_machine_and_nothing_else():
    assert {cause.code for cause in IS_FOUND} == set(MACHINES)
    assert {code for code in BY_CODE if not code.startswith("run.")} == set(MACHINES) | WITHOUT_FINDING


@pytest.mark.parametrize("code", sorted(OUTCOMES))
def test_what_a_run_can_end_with_can_be_looked_up(code: str):
    assert code in BY_CODE


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.code)
def test_a_cause_is_complete_and_its_own_texts_lead_to_it(cause: Cause):
    assert all((cause.title, cause.meaning, cause.fix))
    assert not cause.title.endswith(".")
    assert cause.meaning.endswith(".")
    assert not cause.fix.endswith(".")
    for symptom in cause.symptoms:
        found = find_causes(symptom.replace("…", " something "))
        assert cause.code in [match.cause.code for match in found]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.code)
def test_codes_that_a_cause_hides_are_there(cause: Cause):
    known = {*BY_CODE, *(f"{name}.*" for name in GROUPS), "detectron2.ops_*"}

    assert set(cause.hides) <= known
    assert not (cause.hides or cause.blocks or cause.fatal) or cause.find


def commands_in(fix: str) -> set[str]:
    return {re.sub("-i 0", "-i <index>", command) for command in re.findall(r"`([^`]+)`", fix)}


# The doctor knows the GPUs' list of architectures.
MORE_EXACT = {"detectron2.ops_arch"}


@pytest.mark.parametrize(("code", "facts"), [*MACHINES.items(), *VARIATIONS])
def test_the_doctor_advises_nothing_that_the_cause_does_not(code: str, facts: DeviceFacts):
    for finding in diagnose(facts).findings:
        assert code in MORE_EXACT or commands_in(finding.fix) <= commands_in(BY_CODE[code].fix)


def test_the_page_of_causes_is_what_the_causes_are():
    script = runpy.run_path(str(ROOT / "scripts/docs/causes.py"))

    assert script["PAGE"].read_text() == script["page"](), "run python scripts/docs/causes.py"
