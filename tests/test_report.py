"""What a person and a program read."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from launcher.config.adjustment import Adjustment
from launcher.config.values import from_plain
from launcher.device.facts import DeviceFacts
from launcher.device.rules import diagnose
from launcher.report import _adjustment_rows, doctor_json, show_doctor
from tests.device.recorded import HEALTHY, NO_GPU, TWO_GPUS, changed, driver_gpu, init_fails, nvml_gpu, smoke

MACHINES = Path(__file__).parent / "device/machines"
SICK = changed(TWO_GPUS, torch={"smoke_tests": (smoke(0, failed="context", code=214), smoke(1))})


def shown(facts: DeviceFacts, *, verbose: bool = False, width: int = 100) -> str:
    text = io.StringIO()
    show_doctor(diagnose(facts), facts, Console(file=text, width=width), verbose=verbose)
    return text.getvalue()


@pytest.mark.parametrize("facts", [HEALTHY, NO_GPU, SICK, init_fails(7)])
def test_the_doctors_screen_begins_with_the_verdict_and_fits(facts: DeviceFacts):
    text = shown(facts)

    assert text.startswith(diagnose(facts).verdict[:60])
    assert len(text.splitlines()) <= 24


def test_every_gpu_has_one_line():
    lines = [line for line in shown(SICK).splitlines() if line.startswith(("✓  GPU", "✗  GPU"))]

    assert [line[:9] for line in lines] == ["✗  GPU 0 ", "✓  GPU 1 "]


def test_a_slice_is_listed_last_and_by_its_uuid():
    sliced = changed(
        TWO_GPUS,
        nvml={"gpus": (nvml_gpu(0), nvml_gpu(1, mig=True))},
        driver={"gpus": (driver_gpu(0), replace(driver_gpu(0), uuid="GPU-33333333-cccc"))},
        torch={"smoke_tests": (smoke(0), replace(smoke(0), uuid="MIG-33333333-cccc"))},
    )

    lines = [line for line in shown(sliced).splitlines() if line.startswith(("✓  ", "✗  "))][:3]

    assert [" ".join(line.split()[:3]) for line in lines] == ["✓ GPU 0", "✗ GPU 1", "✓ MIG-33333333 NVIDIA"]


def test_an_ordinal_that_gave_way_is_told_and_the_default_is_not():
    def adjustment(asked: str) -> Adjustment:
        return Adjustment(
            setting="MODEL.DEVICE", asked=asked, planned="cuda", reason="the GPUs are chosen by device.ids"
        )

    (row,) = _adjustment_rows([adjustment("cuda:1"), adjustment("cuda")])

    assert row.split()[:5] == ["MODEL.DEVICE", "asked", '"cuda:1"', "planned", '"cuda"']


def test_each_finding_shows_its_code_and_what_to_type():
    text = shown(SICK)

    assert "gpu.sick" in text
    assert "nvidia-smi --gpu-reset -i 0" in text


def test_verbose_adds_the_evidence_of_later_findings():
    facts = changed(NO_GPU, packages={"detectron2_compiled": ()})
    evidence = diagnose(facts).findings[1].evidence[0]

    assert evidence not in shown(facts)
    assert evidence in shown(facts, verbose=True)


def test_brackets_in_what_a_machine_says_are_no_markup():
    facts = init_fails(7)
    facts = replace(facts, driver=replace(facts.driver, init_error="[/red] [bold]"))  # type: ignore[type-var]

    assert "[/red] [bold]" in shown(facts)


@pytest.mark.parametrize("facts", [HEALTHY, NO_GPU, SICK])
def test_the_json_replays_to_the_same_diagnosis(facts: DeviceFacts):
    report = json.loads(doctor_json(diagnose(facts), facts))

    assert diagnose(from_plain(DeviceFacts, report["facts"])) == diagnose(facts)
    assert report["verdict"] == diagnose(facts).verdict
    for finding in report["findings"]:
        assert set(finding) == {"code", "severity", "cause", "evidence", "fix"}


@pytest.mark.parametrize("path", sorted(MACHINES.glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_machine_is_still_diagnosed_as_it_was(path: Path):
    """Each file is what `launcher doctor --json` printed there."""
    report = json.loads(path.read_text())

    diagnosis = diagnose(from_plain(DeviceFacts, report["facts"]))

    assert diagnosis.verdict == report["verdict"]
    assert [finding.code for finding in diagnosis.findings] == [finding["code"] for finding in report["findings"]]
