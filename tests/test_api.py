from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import launcher
from launcher import api
from launcher.device.causes.diagnose import diagnose
from launcher.errors import RequestError
from tests.device.recorded import HEALTHY, NO_GPU
from tests.values import CPU, TWO_GPUS

ZOO = "COCO-Detection/retinanet_R_50_FPN_1x"


def test_importing_the_package_and_its_functions_leaves_torch_out():
    code = (
        "import sys, launcher\n"
        "assert callable(launcher.load) and callable(launcher.doctor)\n"
        "assert not {'torch', 'detectron2'} & set(sys.modules), 'torch has been imported'\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stderr


def test_there_is_nothing_else():
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        launcher.predict  # noqa: B018


@pytest.fixture
def environ() -> dict[str, str]:
    return {"HOME": "/home/me", "CUDA_VISIBLE_DEVICES": "0"}


def test_where_no_gpu_is_usable_torch_is_kept_from_the_driver(environ: dict[str, str]):
    said = api.shield(CPU, diagnose(NO_GPU), environ)

    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert said == ""


def test_what_cannot_be_hidden_any_more_is_said(environ: dict[str, str]):
    said = api.shield(replace(CPU, hide_driver=True), diagnose(NO_GPU), environ)

    assert "its driver library cannot be hidden any more" in said


def test_gpus_that_work_stay_visible_to_the_rest_of_the_callers_program(environ: dict[str, str]):
    before = dict(environ)

    assert api.shield(CPU, diagnose(HEALTHY), environ) == ""
    assert api.shield(TWO_GPUS, diagnose(HEALTHY), environ) == ""
    assert environ == before


def test_one_device_is_all_that_is_loaded_onto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(RequestError, match=r"device\.count=2: launcher\.load uses one device"):
        launcher.load(ZOO, "device=cpu", "device.count=2")


@pytest.mark.parametrize(
    ("model", "settings", "why"),
    [
        ("nowhere", (), "no run|is no run"),
        ("COCO-Detection/retinanet_R_50_FPN_2x", (), "retinanet_R_50_FPN_"),
        (ZOO, ("device=gpu",), "device"),
        (ZOO, ("SOLVER.MAX_ITERS=3",), "SOLVER.MAX_ITER"),
    ],
)
def test_what_cannot_be_loaded_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, settings: tuple[str, ...], why: str
):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(RequestError, match=why):
        launcher.load(model, *settings)


def test_a_setting_that_a_loaded_model_will_not_use_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(RequestError, match="uses one device"):
        launcher.load(ZOO, "device=cpu", "device.count=2", "TEST.AUG.ENABLED=True")

    assert "TEST.AUG.ENABLED=True has no effect" in caplog.text
