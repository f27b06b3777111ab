"""A CPU run's environment against a driver that kills: the real torch, a pretended driver."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from launcher.config.keys import Keys
from launcher.config.request import DeviceChoice, DeviceRequest
from launcher.device.causes.diagnose import diagnose
from launcher.device.policy.plan import plan_devices
from launcher.launch.environment import worker_environment, write_empty_libraries
from tests.device.recorded import HUNG, NO_GPU, driver_ends
from tests.fakegpu import FakeGpu, Gpu, Machine

TRAIN = """
import torch
model = torch.nn.Linear(4, 2)
model(torch.ones(3, 4)).sum().backward()
torch.__config__.show()
print("trained", model.weight.grad.sum().item(), torch.cuda.is_available())
"""


def test_a_cpu_run_trains_although_the_driver_hangs(fakegpu: FakeGpu, plain_environ: dict[str, str], tmp_path: Path):
    plan = plan_devices(DeviceRequest(choice=DeviceChoice.auto), Keys({}), diagnose(driver_ends(HUNG)))
    hanging = fakegpu.environ(plain_environ, Machine(gpus=(Gpu(),), init="hang", nvml="hang"))
    environ = worker_environment(plan, hanging, write_empty_libraries(tmp_path / "mask"))

    trained = train(environ)
    # The same without the mask, and a driver that kills where the other hangs: the test would notice.
    unmasked = train(
        worker_environment(plan, fakegpu.environ(plain_environ, Machine(gpus=(Gpu(),), init="segv")), None)
    )

    assert trained.communicate(timeout=60)[0].split() == ["trained", "24.0", "False"]
    assert unmasked.wait(timeout=60) == -11


def test_a_cpu_run_with_a_healthy_driver_does_not_hide_it():
    assert not plan_devices(DeviceRequest(), Keys({}), diagnose(NO_GPU)).hide_driver


def train(environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
