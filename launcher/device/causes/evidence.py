"""What the causes ask of the facts: signs for and against, and the answers as text. Pure."""

from __future__ import annotations

from launcher.device.facts import ChildEnd, DeviceFacts, NvmlGpu, SmokeTest
from launcher.device.gpus import GpuView
from launcher.device.visibility import hides_everything, problem_with_list

NO_DEVICE, NOT_INITIALIZED, STUB, NOT_LICENSED = 100, 3, 34, 102
OS_CALL, NOT_SUPPORTED, SYSTEM_NOT_READY, MISMATCH, COMPAT = 304, 801, 802, 803, 804
MPS_CODES = (805, 806, 807, 808)
UNKNOWN = 999
BUSY, ECC_ERROR, LAUNCH_TIMEOUT = 46, 214, 702
NVML_NO_PERMISSION, NVML_NOT_LOADED, NVML_MISMATCH = 4, 9, 18
FROM_OUTSIDE = (1, 2, 9, 15)  # SIGHUP, SIGINT, SIGKILL, SIGTERM: the process was ended, it did not crash


# The driver


def init_code(facts: DeviceFacts) -> int | None:
    return facts.driver.init_code if facts.driver else None


def init_failed(facts: DeviceFacts, *codes: int) -> bool:
    return init_code(facts) in codes


def driver_works(facts: DeviceFacts) -> bool:
    """cuInit returned success."""
    return init_code(facts) == 0


def driver_answers(facts: DeviceFacts) -> bool:
    """It gave an answer that only a loaded driver gives: to NVML, to cuInit, or by letting a device file be opened."""
    opened = any(not node.error for node in (facts.driver.nodes if facts.driver else ()))
    by_init = init_failed(facts, 0, BUSY, ECC_ERROR, SYSTEM_NOT_READY, MISMATCH)
    return opened or by_init or nvml_answers(facts) or nvml_failed(facts, NVML_MISMATCH)


def driver_is_loaded(facts: DeviceFacts) -> bool:
    """Its kernel module is: it is listed, or it answers where a container or sandbox hides the list."""
    return bool(facts.system.driver_loaded) or driver_answers(facts)


def driver_hung(facts: DeviceFacts) -> tuple[ChildEnd, ...]:
    """The children that waited for it in vain."""
    return tuple(end for end in _driver_ends(facts) if end.how == "hung" and end.stage != "start")


def driver_crashed(facts: DeviceFacts) -> tuple[ChildEnd, ...]:
    """The children that it killed."""
    died = (end for end in _driver_ends(facts) if end.how in ("signal", "exit") and end.stage != "start")
    return tuple(end for end in died if not (end.how == "signal" and end.number in FROM_OUTSIDE))


def driver_is_dangerous(facts: DeviceFacts) -> bool:
    """Whoever touches it hangs or crashes."""
    return bool(driver_hung(facts) or driver_crashed(facts))


def _driver_ends(facts: DeviceFacts) -> list[ChildEnd]:
    return [answer.end for answer in (facts.driver, facts.nvml) if answer is not None]


def no_library(facts: DeviceFacts) -> bool:
    return bool(facts.driver and facts.driver.load_error)


# NVML


def nvml_answers(facts: DeviceFacts) -> bool:
    return nvml_failed(facts, 0)


def nvml_failed(facts: DeviceFacts, *codes: int) -> bool:
    return facts.nvml is not None and facts.nvml.init_code in codes


def nvml_gpus(facts: DeviceFacts) -> tuple[NvmlGpu, ...]:
    return facts.nvml.gpus if facts.nvml else ()


def nvml_lists_gpus(facts: DeviceFacts) -> bool:
    """The driver serves at least one GPU."""
    return bool(nvml_gpus(facts))


# The machine


def gpu_in_machine(facts: DeviceFacts) -> bool:
    """Something says that there is an NVIDIA GPU, whether or not this process can reach it."""
    system = facts.system
    listed = nvml_lists_gpus(facts) or bool(facts.driver and facts.driver.gpus)
    on_bus = any(gpu.vendor == "nvidia" for gpu in system.pci_gpus)
    # Windows shows /dev/dxg for a card of any maker.
    nodes = set(system.device_nodes) - {"/dev/dxg"}
    return listed or on_bus or bool(nodes) or system.tegra or bool(system.driver_loaded) or behind_wsl(facts)


def behind_wsl(facts: DeviceFacts) -> bool:
    """Windows has an NVIDIA driver: only then it hands libcuda to WSL."""
    return facts.system.wsl and (bool(facts.system.cuda_libraries) or nvml_answers(facts))


def in_wsl(facts: DeviceFacts) -> bool:
    return facts.system.wsl


def on_jetson(facts: DeviceFacts) -> bool:
    return facts.system.tegra


def in_container(facts: DeviceFacts) -> bool:
    return bool(facts.system.container)


def driver_shows_gpus(facts: DeviceFacts) -> bool:
    """To this process."""
    return bool(facts.driver and facts.driver.gpus)


def problem_with_visible(facts: DeviceFacts) -> str:
    """What is wrong with CUDA_VISIBLE_DEVICES, or empty."""
    listed = facts.environment.get("CUDA_VISIBLE_DEVICES")
    gpus = nvml_gpus(facts)
    if listed is None or hides_everything(listed) or not gpus:
        return ""
    return problem_with_list(listed, [gpu.uuid for gpu in gpus], with_instances=any(gpu.mig for gpu in gpus))


def visible_devices_hide_all(facts: DeviceFacts) -> bool:
    """That cuInit finds no device is what CUDA_VISIBLE_DEVICES brings about, and says nothing of the driver."""
    listed = facts.environment.get("CUDA_VISIBLE_DEVICES")
    empty = listed is not None and hides_everything(listed)
    return init_failed(facts, NO_DEVICE) and (empty or bool(problem_with_visible(facts)))


# torch


def computes(facts: DeviceFacts) -> bool:
    """cuInit works, and torch computed on a GPU: whatever else complains is not what keeps GPUs from work."""
    tests = facts.torch.smoke_tests if facts.torch else ()
    return driver_works(facts) and any(passed(test) or only_ops_failed(test) for test in tests)


def passed(test: SmokeTest | None) -> bool:
    """Every stage of it."""
    return test is not None and not test.failed and test.end.how == "answered"


def only_ops_failed(test: SmokeTest) -> bool:
    """All that failed on this GPU are detectron2's own operators, which plain models do without."""
    return test.failed == "operators" and test.end.how != "hung" and test.code != ECC_ERROR


def torch_has_cuda(facts: DeviceFacts) -> bool:
    """torch itself names GPU code that it holds."""
    return bool(facts.torch and facts.torch.architectures)


def ops_load(facts: DeviceFacts) -> bool:
    """detectron2's compiled operators were imported."""
    return bool(facts.torch and facts.torch.ops_cuda and not facts.torch.ops_error)


def died_importing(facts: DeviceFacts, stage: str) -> bool:
    end = facts.torch.end if facts.torch else None
    return end is not None and end.how in ("signal", "exit") and end.stage == stage


# As text


def raw_codes(facts: DeviceFacts) -> tuple[str, ...]:
    """What driver, NVML and torch answered, unjudged."""
    lines = []
    if facts.driver:
        lines.append(f"cuInit: {_answer(facts.driver.end, facts.driver.init_code, facts.driver.init_error)}")
        if facts.driver.load_error:
            lines.append(facts.driver.load_error)
    if facts.nvml:
        lines.append(f"NVML: {_answer(facts.nvml.end, facts.nvml.init_code, facts.nvml.init_error)}")
        if facts.nvml.load_error:
            lines.append(facts.nvml.load_error)
    if facts.torch and facts.torch.is_available is not None:
        lines.append(f"torch.cuda.is_available() is {facts.torch.is_available}")
        lines += [f"torch: {warning}" for warning in facts.torch.warnings]
    return tuple(lines)


def _answer(end: ChildEnd, code: int | None, error: str) -> str:
    if end.how != "answered":
        return how_it_ended(end)
    if code == 0:
        return "works"
    return "not reached" if code is None else f"error {code} {error}".strip()


def how_it_ended(end: ChildEnd) -> str:
    if end.how == "hung":
        return f"no answer after {end.seconds:.0f} s in `{end.stage}` {end.kernel_state}".strip()
    return f"{end.how} {end.number} in `{end.stage}`"


def smoke_lines(gpu: GpuView) -> tuple[str, ...]:
    """What the smoke test says against a GPU."""
    if gpu.smoke is None or not gpu.smoke.failed:
        return ()
    code = "" if gpu.smoke.code is None else f" with code {gpu.smoke.code}"
    error = gpu.smoke.error.partition("\n")[0] or _end_in_words(gpu.smoke.end)
    return (f"smoke test: `{gpu.smoke.failed}` failed{code}: {error}",)


def _end_in_words(end: ChildEnd) -> str:
    if end.how == "answered":
        return "without an error message"
    if end.how == "hung":
        return f"no answer after {end.seconds:.0f} s {end.kernel_state}".strip()
    return f"the process ended by {end.how} {end.number}"
