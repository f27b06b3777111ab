"""Child process: asks NVML about the driver and every GPU. Imports nothing of ours but `child_journal`.

A call that this NVML does not have, or that a GPU does not support, leaves its field out.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from child_journal import Journal, ask_library, run  # type: ignore[import-not-found]

UNCORRECTED, SINCE_RESET = 1, 0
FIELD_RECOVERY_ACTION = 230
UNKNOWN_MEMORY = 2**64 - 1
MAX_PROCESSES = 64


class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


class PciInfo(ctypes.Structure):
    _fields_ = [
        ("legacy_bus_id", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("device_id", ctypes.c_uint),
        ("subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    ]


class FieldValue(ctypes.Structure):
    _fields_ = [
        ("field", ctypes.c_uint),
        ("scope", ctypes.c_uint),
        ("timestamp", ctypes.c_longlong),
        ("latency", ctypes.c_longlong),
        ("kind", ctypes.c_uint),
        ("code", ctypes.c_uint),
        ("value", ctypes.c_ulonglong),
    ]


def main(journal: Journal, ask: dict[str, Any]) -> None:
    ask_library(journal.say, ask["library"], "libnvidia-ml", ask_nvml)
    journal.say(stage="end")


def ask_nvml(nvml: ctypes.CDLL, say: Callable[..., None]) -> None:
    say(stage="nvmlInit")
    code = nvml.nvmlInit_v2()
    say(init_code=code, init_error=error_text(nvml, code) if code else "")
    if code:
        return
    text, count = ctypes.create_string_buffer(96), ctypes.c_uint(0)
    say(stage="driver version")
    nvml.nvmlSystemGetDriverVersion(text, len(text))
    say(driver=text.value.decode(errors="replace"))
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    found = []
    for index in range(count.value):
        say(stage=f"GPU {index}")
        found.append({"index": index, **gpu(nvml, index)})
        say(gpus=found)


def gpu(nvml: ctypes.CDLL, index: int) -> dict[str, Any]:
    handle = ctypes.c_void_p()
    code = nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    if code:
        return {"code": code}
    name, uuid = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
    code = nvml.nvmlDeviceGetUUID(handle, uuid, len(uuid))
    nvml.nvmlDeviceGetName(handle, name, len(name))
    return {
        "code": code,
        "uuid": uuid.value.decode(errors="replace"),
        "name": name.value.decode(errors="replace"),
        **{key: value for part in PARTS for key, value in part(nvml, handle).items()},
        "processes": processes(nvml, handle),
    }


def bus(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> dict[str, Any]:
    info = PciInfo()
    call = getattr(nvml, "nvmlDeviceGetPciInfo_v3", None)
    known = call is not None and call(handle, ctypes.byref(info)) == 0
    return {"pci": info.bus_id.decode(errors="replace").lower()} if known else {}


def capability(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> dict[str, Any]:
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    known = nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor)) == 0
    return {"capability": [major.value, minor.value]} if known else {}


def memory(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> dict[str, Any]:
    info = Memory()
    known = nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(info)) == 0
    return {"memory_mib": info.total >> 20, "free_mib": info.free >> 20} if known else {}


def health(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> dict[str, Any]:
    found: dict[str, Any] = {}
    mode, current, pending, errors = ctypes.c_int(0), ctypes.c_uint(0), ctypes.c_uint(0), ctypes.c_ulonglong(0)
    if number(nvml, "nvmlDeviceGetComputeMode", handle, mode):
        found["compute_mode"] = mode.value
    if number(nvml, "nvmlDeviceGetMigMode", handle, current, pending):
        found["mig"] = bool(current.value)
    if number(nvml, "nvmlDeviceGetTotalEccErrors", handle, UNCORRECTED, SINCE_RESET, errors):
        found["ecc_errors"] = errors.value
    retired = ctypes.c_uint(0)
    number(nvml, "nvmlDeviceGetRetiredPagesPendingStatus", handle, retired)
    remapped = [ctypes.c_uint(0) for _ in range(4)]
    number(nvml, "nvmlDeviceGetRemappedRows", handle, *remapped)
    found["repair_pending"] = bool(retired.value or remapped[2].value)
    found["repair_failed"] = bool(remapped[3].value)
    field = FieldValue(field=FIELD_RECOVERY_ACTION)
    if number(nvml, "nvmlDeviceGetFieldValues", handle, 1, field) and field.code == 0:
        found["recovery_action"] = field.value & 0xFFFFFFFF
    return found


def surroundings(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> dict[str, Any]:
    found: dict[str, Any] = {}
    display, persistent, reasons = ctypes.c_uint(0), ctypes.c_uint(0), ctypes.c_ulonglong(0)
    if number(nvml, "nvmlDeviceGetDisplayActive", handle, display):
        found["display"] = bool(display.value)
    if number(nvml, "nvmlDeviceGetPersistenceMode", handle, persistent):
        found["persistent"] = bool(persistent.value)
    if number(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", handle, reasons):
        found["throttle_reasons"] = reasons.value
    for field, name in (
        ("link_width", "nvmlDeviceGetCurrPcieLinkWidth"),
        ("link_width_max", "nvmlDeviceGetMaxPcieLinkWidth"),
    ):
        width = ctypes.c_uint(0)
        if number(nvml, name, handle, width):
            found[field] = width.value
    return found


def processes(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> list[dict[str, Any]]:
    call = getattr(nvml, "nvmlDeviceGetComputeRunningProcesses_v3", None)
    count, table = ctypes.c_uint(MAX_PROCESSES), (Process * MAX_PROCESSES)()
    if call is None or call(handle, ctypes.byref(count), table):
        return []
    return [
        {
            "pid": entry.pid,
            "memory_mib": None if entry.used == UNKNOWN_MEMORY else entry.used >> 20,
            "command": command(entry.pid),
            "user": user(entry.pid),
        }
        for entry in table[: count.value]
    ]


def command(pid: int) -> str:
    """The program's name only: arguments of other people's processes may hold secrets."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def user(pid: int) -> str:
    """Whose it is: the name, or where this container knows none the number."""
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return ""
    return _name_of(owner)


def _name_of(user: int) -> str:
    """As the local file says: a directory service that does not answer would look like a driver that hangs."""
    try:
        with open("/etc/passwd", errors="replace") as lines:
            names = (line.split(":") for line in lines)
            return next((name[0] for name in names if len(name) > 2 and name[2] == str(user)), str(user))
    except OSError:
        return str(user)


def number(nvml: ctypes.CDLL, name: str, *arguments: Any) -> bool:
    """Call with the numbers as such and the ctypes values by reference; False where it has no answer."""
    call = getattr(nvml, name, None)
    if call is None:
        return False
    plain = (value if isinstance(value, (int, ctypes.c_void_p)) else ctypes.byref(value) for value in arguments)
    return bool(call(*plain) == 0)


def error_text(nvml: ctypes.CDLL, code: int) -> str:
    nvml.nvmlErrorString.restype = ctypes.c_char_p
    text: bytes = nvml.nvmlErrorString(code) or b""
    return text.decode(errors="replace")


PARTS = (bus, capability, memory, health, surroundings)


if __name__ == "__main__":
    run(main)
