"""What the doctor says of real GPUs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from launcher.config.values import from_plain
from launcher.device.diagnosis import Diagnosis, UsableGpu
from launcher.device.facts import DeviceFacts
from launcher.device.look.probe import STAGES
from launcher.errors import ExitCode

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(400)]
# Others explain themselves, such as a GPU that somebody holds, that is too old, or was hidden on purpose.
SUSPICIOUS = {
    "unexplained",
    "gpu.sick",
    "gpu.hangs",
    "gpu.crashes",
    "torch.cudnn",
    "torch.libraries",
    "torchvision.nms_fails",
}


def test_no_gpu_is_left_out_that_may_be_well(diagnosis: Diagnosis):
    """What fails here is a GPU to have a look at, or a false alarm of the doctor's."""
    assert [gpu for gpu in diagnosis.excluded_gpus if gpu.code in SUSPICIOUS] == []


def test_a_gpu_that_can_be_used_passed_every_stage(facts: DeviceFacts, gpus: tuple[UsableGpu, ...]):
    assert facts.torch is not None
    compiled = facts.torch.ops_cuda not in ("", "not available")
    expected = [stage for stage in STAGES if stage != "operators" or compiled]

    passed = {test.uuid: (test.failed, list(test.passed)) for test in facts.torch.smoke_tests}

    assert {"convolution", "nms"} <= set(expected)
    assert {gpu.uuid: passed.get(gpu.uuid) for gpu in gpus} == {gpu.uuid: ("", expected) for gpu in gpus}
    assert facts.torch.is_available is True


def test_driver_and_nvml_mean_the_same_gpus(facts: DeviceFacts, gpus: tuple[UsableGpu, ...]):
    if facts.system.tegra or facts.system.wsl or facts.nvml is None or facts.nvml.init_code != 0:
        pytest.skip("NVML knows too little here")
    listed = {gpu.uuid: gpu for gpu in facts.nvml.gpus}

    for gpu in (gpu for gpu in gpus if not gpu.uuid.startswith("MIG-")):
        known = listed[gpu.uuid]
        assert (known.name, known.capability) == (gpu.name, gpu.capability)
        assert known.pci
        assert known.free_mib is not None
        assert 0 < known.free_mib <= (known.memory_mib or 0)
        assert known.link_width is not None
        assert facts.nvml.driver.count(".") >= 1


@pytest.mark.usefixtures("two_gpus")
def test_two_gpus_talk_to_each_other(facts: DeviceFacts):
    assert facts.torch is not None
    assert facts.torch.all_reduce is not None

    assert (facts.torch.all_reduce.failed, list(facts.torch.all_reduce.passed)) == (
        "",
        ["rendezvous", "all_reduce", "compare"],
    )


@pytest.mark.usefixtures("gpus")
def test_the_doctor_prints_what_replays_to_the_same_verdict(launch: Callable[..., CompletedProcess[str]]):
    from launcher.device.causes.diagnose import diagnose
    from launcher.device.policy.choice import by_default

    done = launch("doctor", "--json")

    report = json.loads(done.stdout)
    assert done.returncode == ExitCode.finished
    assert report["verdict"].startswith("detectron2 can train on ")
    assert by_default(diagnose(from_plain(DeviceFacts, report["facts"]))).verdict == report["verdict"]


@pytest.mark.usefixtures("gpus")
def test_a_list_that_hides_every_gpu_is_explained(launch: Callable[..., CompletedProcess[str]]):
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        pytest.skip("CUDA_VISIBLE_DEVICES is set here")

    report = json.loads(launch("doctor", "--json", CUDA_VISIBLE_DEVICES="").stdout)

    assert "visible.empty" in [finding["code"] for finding in report["findings"]]
    assert "hides every GPU" in report["verdict"]
