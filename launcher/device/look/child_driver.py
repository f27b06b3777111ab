"""Child process: opens the device nodes, calls cuInit, lists the GPUs. Imports nothing of ours but `child_journal`.

Every stage is announced before it is tried, so that the journal tells where a hang or a crash happened.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from child_journal import Journal, ask_library, run  # type: ignore[import-not-found]

CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
MEMORY_DEVICES = 1
"""Major number of /dev/null and its like (devices.txt of Linux)."""


def main(journal: Journal, ask: dict[str, Any]) -> None:
    say = journal.say
    say(stage="open device nodes")
    say(nodes=[{"path": path, "error": error_of_opening(path)} for path in ask["nodes"]])
    ask_library(say, ask["library"], "libcuda", ask_driver)
    say(stage="end")


def ask_driver(cuda: ctypes.CDLL, say: Callable[..., None]) -> None:
    say(stage="cuDriverGetVersion")
    version = ctypes.c_int(0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    say(cuda_version=version.value)
    say(stage="cuInit")
    code = cuda.cuInit(0)
    say(init_code=code, init_error=error_text(cuda, code) if code else "")
    if code == 0:
        say(stage="list GPUs")
        say(gpus=list(gpus(cuda)))


def gpus(cuda: ctypes.CDLL) -> Iterator[dict[str, Any]]:
    count = ctypes.c_int(0)
    cuda.cuDeviceGetCount(ctypes.byref(count))
    for ordinal in range(count.value):
        device, memory = ctypes.c_int(0), ctypes.c_size_t(0)
        name, uuid = ctypes.create_string_buffer(256), (ctypes.c_ubyte * 16)()
        if cuda.cuDeviceGet(ctypes.byref(device), ordinal) or uuid_of(cuda, device, uuid):
            continue
        cuda.cuDeviceGetName(name, len(name), device)
        cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        yield {
            "uuid": "GPU-" + dashed(bytes(uuid).hex()),
            "name": name.value.decode(errors="replace"),
            "capability": [attribute(cuda, CAPABILITY_MAJOR, device), attribute(cuda, CAPABILITY_MINOR, device)],
            "memory_mib": memory.value >> 20,
        }


def uuid_of(cuda: ctypes.CDLL, device: ctypes.c_int, uuid: ctypes.Array[ctypes.c_ubyte]) -> int:
    # The second version of the call gives a MIG instance its own identity; old drivers have only the first.
    call = getattr(cuda, "cuDeviceGetUuid_v2", None) or cuda.cuDeviceGetUuid
    return int(call(ctypes.byref(uuid), device))


def attribute(cuda: ctypes.CDLL, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int(0)
    cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device)
    return value.value


def dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def error_text(cuda: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(code, ctypes.byref(text))
    return text.value.decode(errors="replace") if text.value else ""


def error_of_opening(path: str) -> str:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    try:
        found = os.fstat(file)
    finally:
        os.close(file)
    return "" if stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) != MEMORY_DEVICES else "covered"


if __name__ == "__main__":
    run(main)
