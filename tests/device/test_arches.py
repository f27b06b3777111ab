"""Which GPU code runs on which GPU."""

from __future__ import annotations

import pytest

from launcher.device.arches import cuda_version, runs_on

WHEEL = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0), (12, 1)])
def test_a_gpu_runs_code_for_its_generation(capability: tuple[int, int]):
    assert runs_on(WHEEL, capability, "13.0")


@pytest.mark.parametrize("capability", [(3, 5), (6, 1), (7, 0), (11, 0), (13, 0)])
def test_a_gpu_runs_no_code_of_another_generation(capability: tuple[int, int]):
    assert not runs_on(WHEEL, capability, "13.0")


def test_code_for_a_newer_chip_of_the_same_generation_does_not_run():
    assert not runs_on(("sm_86",), (8, 0))


def test_intermediate_code_runs_on_everything_newer():
    assert runs_on(("compute_80",), (13, 0))
    assert not runs_on(("compute_80",), (7, 5))


def test_jetson_runs_desktop_code_only_since_cuda_13_2():
    assert not runs_on(WHEEL, (8, 7), "13.0")
    assert runs_on(WHEEL, (8, 7), "13.2")
    assert runs_on(("sm_87",), (8, 7), "12.6")


def test_a_renamed_chip_runs_code_of_either_name():
    assert runs_on(("sm_101",), (11, 0))
    assert runs_on(("sm_110",), (10, 1))


def test_an_unknown_spelling_turns_no_gpu_away():
    assert runs_on(("gfx90a",), (8, 6))


@pytest.mark.parametrize(
    ("text", "version"), [("13.2", (13, 2)), ("", (0, 0)), ("None", (0, 0)), ("12.10.1", (12, 10))]
)
def test_cuda_versions_are_read_as_numbers(text: str, version: tuple[int, int]):
    assert cuda_version(text) == version
