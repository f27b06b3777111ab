"""What a rule says, and what the rules ask of the facts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.device.facts import ChildEnd, DeviceFacts, SmokeTest

NO_DEVICE, NOT_INITIALIZED, STUB, NOT_LICENSED = 100, 3, 34, 102
OS_CALL, NOT_SUPPORTED, SYSTEM_NOT_READY, MISMATCH, COMPAT = 304, 801, 802, 803, 804
MPS_CODES = (805, 806, 807, 808)
UNKNOWN = 999
BUSY, ECC_ERROR, LAUNCH_TIMEOUT = 46, 214, 702
NVML_NO_PERMISSION, NVML_NOT_LOADED, NVML_MISMATCH = 4, 9, 18


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a rule saw."""

    cause: str
    evidence: tuple[str, ...]
    fix: str


def init_code(facts: DeviceFacts) -> int | None:
    return facts.driver.init_code if facts.driver else None


def driver_works(facts: DeviceFacts) -> bool:
    """cuInit returned success."""
    return init_code(facts) == 0


def gpu_in_machine(facts: DeviceFacts) -> bool:
    """Something says that there is an NVIDIA GPU, whether or not this process can reach it."""
    system = facts.system
    listed = bool(facts.nvml and facts.nvml.gpus) or bool(facts.driver and facts.driver.gpus)
    on_bus = any(gpu.vendor == "nvidia" for gpu in system.pci_gpus)
    # Windows shows /dev/dxg for a card of any maker.
    nodes = set(system.device_nodes) - {"/dev/dxg"}
    return listed or on_bus or bool(nodes) or system.tegra or bool(system.driver_loaded) or behind_wsl(facts)


def behind_wsl(facts: DeviceFacts) -> bool:
    """Windows has an NVIDIA driver: only then it hands libcuda to WSL."""
    answers = facts.nvml is not None and facts.nvml.init_code == 0
    return facts.system.wsl and (bool(facts.system.cuda_libraries) or answers)


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


def init_failed(facts: DeviceFacts, *codes: int) -> bool:
    return init_code(facts) in codes


def nvml_failed(facts: DeviceFacts, *codes: int) -> bool:
    return facts.nvml is not None and facts.nvml.init_code in codes


def computes(facts: DeviceFacts) -> bool:
    """cuInit works, and torch computed on a GPU: whatever else complains is not what keeps GPUs from work."""
    tests = facts.torch.smoke_tests if facts.torch else ()
    return driver_works(facts) and any(not test.failed or only_ops_failed(test) for test in tests)


def no_library(facts: DeviceFacts) -> bool:
    return bool(facts.driver and facts.driver.load_error)


def only_ops_failed(test: SmokeTest) -> bool:
    """All that failed on this GPU are detectron2's own operators, which plain models do without."""
    return test.failed == "operators" and test.end.how != "hung" and test.code != ECC_ERROR
