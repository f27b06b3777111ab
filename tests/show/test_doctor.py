"""What a person and a program read of a diagnosis."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from launcher.config.values import from_plain
from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts, GpuProcess
from launcher.device.policy.choice import by_default
from launcher.show.doctor import doctor_json, show_doctor
from tests.device.recorded import HEALTHY, NO_GPU, TWO_GPUS, changed, driver_gpu, init_fails, nvml_gpu, smoke

MACHINES = Path(__file__).parents[1] / "device/machines"
SICK = changed(TWO_GPUS, torch={"smoke_tests": (smoke(0, failed="context", code=214), smoke(1))})


def shown(facts: DeviceFacts, *, verbose: bool = False, width: int = 100) -> str:
    text = io.StringIO()
    show_doctor(diagnose(facts), facts, Console(file=text, width=width), verbose=verbose)
    return text.getvalue()


def recorded(path: Path) -> DeviceFacts:
    facts: DeviceFacts = from_plain(DeviceFacts, json.loads(path.read_text())["facts"])
    return facts


EIGHT = recorded(MACHINES / "handmade_eight_gpus_nvswitch.json")
ALL_EIGHT_SICK = replace(
    EIGHT,
    torch=replace(
        EIGHT.torch,  # type: ignore[type-var]
        smoke_tests=tuple(
            replace(test, passed=(), failed="context", code=214, error="CUDA error: uncorrectable ECC error " * 9)
            for test in EIGHT.torch.smoke_tests  # type: ignore[union-attr]
        ),
    ),
)
SEVERAL_CAUSES = changed(
    SICK,
    platform={"disk_free_mib": 10, "shm_mib": 1, "memory_mib": 100, "open_files": 10},
    packages={"detectron2_fits": False},
    nvml={"init_code": 999, "gpus": ()},
)
SCREENS = {
    "healthy": HEALTHY,
    "no GPU": NO_GPU,
    "one sick of two": SICK,
    "unexplained": init_fails(7),
    "eight healthy": EIGHT,
    "eight sick": ALL_EIGHT_SICK,
    "several causes": SEVERAL_CAUSES,
    "no torch": changed(HEALTHY, packages={"torch": "", "torch_cuda": ""}, torch=None),
    "long evidence": changed(
        HEALTHY, torch={"import_error": "ImportError: libcudnn.so.9: cannot open shared object file " * 20}
    ),
}


@pytest.mark.parametrize("name", SCREENS)
def test_the_doctors_screen_begins_with_the_verdict_and_fits(name: str):
    text = shown(SCREENS[name], width=80)

    assert text.startswith(diagnose(SCREENS[name]).verdict[:60])
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 80


def test_what_to_type_is_never_cut_off():
    for facts in SCREENS.values():
        text = " ".join(shown(facts, width=80).split())
        for finding in diagnose(facts).findings[:1]:
            if finding.code in text:
                assert f"→ {' '.join(finding.fix.split())}" in text


def test_notes_are_counted_and_verbose_shows_them():
    facts = changed(HEALTHY, packages={"detectron2_compiled": (), "detectron2_fits": False}, platform={"open_files": 9})

    assert "1 note: launcher doctor --verbose; launcher explain limits.open_files has more" in shown(facts)
    assert "detectron2.no_ops" not in shown(facts)
    assert "detectron2.no_ops" in shown(facts, verbose=True)


def test_the_reason_for_the_cpu_is_shown_although_it_is_only_a_note():
    assert "gpu.none" in shown(NO_GPU)


def test_a_gpu_that_its_line_explains_is_not_explained_again():
    text = shown(changed(TWO_GPUS, torch={"smoke_tests": (
        smoke(0, failed="context", code=214), smoke(1, failed="context", code=46)
    )}))  # fmt: skip

    assert text.count("gpu.busy") == 0
    assert "GPU 1  NVIDIA GeForce RTX 3090  is busy or unavailable" in text
    assert "1 more cause" in text


def test_a_healthy_machine_takes_three_lines():
    assert len(shown(HEALTHY).splitlines()) == 3


def test_every_gpu_has_one_line():
    lines = [line for line in shown(SICK).splitlines() if line.startswith(("✓  GPU", "✗  GPU"))]

    assert [line[:9] for line in lines] == ["✗  GPU 0 ", "✓  GPU 1 "]


@pytest.mark.parametrize("verbose", [False, True])
def test_a_long_cause_does_not_cut_mark_number_and_model_of_a_gpu(verbose: bool):
    held = nvml_gpu(0, free_mib=12, processes=(GpuProcess(pid=4711, memory_mib=24000, command="python " + "x" * 99),))

    text = shown(changed(TWO_GPUS, nvml={"gpus": (held, nvml_gpu(1))}), width=80, verbose=verbose)

    (line,) = [line for line in text.splitlines() if line.startswith("✗")]
    assert line.startswith("✗  GPU 0  NVIDIA GeForce RTX 3090  has 12 of 24576 MiB free")
    assert len(line) <= 80
    assert ("…" in line) is not verbose


def test_a_mig_instance_is_listed_last_and_by_its_uuid():
    divided = changed(
        TWO_GPUS,
        nvml={"gpus": (nvml_gpu(0), nvml_gpu(1, mig=True))},
        driver={"gpus": (driver_gpu(0), replace(driver_gpu(0), uuid="GPU-33333333-cccc"))},
        torch={"smoke_tests": (smoke(0), replace(smoke(0), uuid="MIG-33333333-cccc"))},
    )

    lines = [line for line in shown(divided).splitlines() if line.startswith(("✓  ", "✗  "))][:3]

    assert [" ".join(line.split()[:3]) for line in lines] == ["✓ GPU 0", "✗ GPU 1", "✓ MIG-33333333 NVIDIA"]


def test_each_finding_shows_its_code_and_what_to_type():
    text = shown(SICK)

    assert "gpu.sick" in text
    assert "nvidia-smi --gpu-reset -i 0" in text


def test_verbose_adds_the_evidence_of_later_findings():
    facts = changed(NO_GPU, platform={"disk_free_mib": 10})
    evidence = diagnose(facts).findings[1].evidence[0][:60]

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
        assert set(finding) == {"code", "severity", "cause", "evidence", "fix", "gpu"}


NUM_GPUS = {
    "handmade_one_gpu": 1,
    "handmade_two_gpus": 2,
    "handmade_eight_gpus_nvswitch": 8,
    "handmade_mig_slice": 1,
    "handmade_wsl2": 1,
    "handmade_container": 1,
    "handmade_jetson": 1,
    "handmade_mixed_models": 2,
    "no_gpu": 0,
}


@pytest.mark.parametrize("name", NUM_GPUS)
def test_a_machine_in_order_raises_no_alarm(name: str):
    facts = recorded(MACHINES / f"{name}.json")
    diagnosis = diagnose(facts)

    assert [finding.code for finding in diagnosis.findings if finding.severity is not Severity.info] == []
    assert len(diagnosis.usable_gpus) == NUM_GPUS[name]
    assert ("will run on the CPU: no NVIDIA GPU" in diagnosis.verdict) is (NUM_GPUS[name] == 0)
    assert len(shown(facts, width=80).splitlines()) <= 12


@pytest.mark.parametrize("path", sorted(MACHINES.glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_machine_is_still_diagnosed_as_it_was(path: Path):
    """Each file is what `launcher doctor --json` printed there."""
    report = json.loads(path.read_text())

    diagnosis = by_default(diagnose(from_plain(DeviceFacts, report["facts"])))

    assert diagnosis.verdict == report["verdict"]
    assert [finding.code for finding in diagnosis.findings] == [finding["code"] for finding in report["findings"]]
