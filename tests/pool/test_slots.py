from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher.device.diagnosis import UsableGpu
from launcher.errors import DeviceUnavailableError, RequestError
from launcher.pool.settings import Asked, StartMethod
from launcher.pool.slots import There, choose_gpus, describe_place, plan_slots

ASKED = Asked(
    devices="auto", gpus_per_job=1, max_parallel=0, start=StartMethod.auto, preload=(), prefix="hydra.launcher."
)


def gpu(index: int, name: str = "A100") -> UsableGpu:
    return UsableGpu(index=index, uuid=f"GPU-{index:04d}", name=name, capability=(8, 0), memory_mib=1000, free_mib=1000)


def there(*gpus: UsableGpu, **changed: Any) -> There:
    plain = There(gpus=gpus, others=(), why_not="", allocated=False, num_cpus=8)
    return replace(plain, **changed)


NOTHING = there(why_not="no NVIDIA GPU in this machine")


@pytest.mark.parametrize(
    ("changed", "gpus", "size", "threads"),
    [
        ({}, 4, 4, 2),
        ({"max_parallel": 2}, 4, 2, 4),
        ({"max_parallel": 9}, 4, 4, 2),
        ({"gpus_per_job": 2}, 5, 2, 4),
        ({"gpus_per_job": 3}, 4, 1, 8),
        ({"devices": ("1", "GPU-0003")}, 4, 2, 4),
    ],
)
def test_as_many_jobs_run_at_once_as_there_are_gpus_for(changed: dict[str, Any], gpus: int, size: int, threads: int):
    slots = plan_slots(replace(ASKED, **changed), there(*map(gpu, range(gpus))))

    assert (slots.size, slots.threads) == (size, threads)


@pytest.mark.parametrize(
    ("max_parallel", "asked_threads", "size", "threads"),
    [(0, None, 8, 1), (2, None, 2, 4), (3, None, 3, 2), (0, 4, 2, 4), (5, 4, 5, 4), (0, 16, 1, 16), (99, None, 99, 1)],
)
def test_jobs_on_the_cpu_divide_its_cores(max_parallel: int, asked_threads: int | None, size: int, threads: int):
    asked = replace(ASKED, devices="cpu", max_parallel=max_parallel)

    slots = plan_slots(asked, there(gpu(0)), threads=asked_threads)

    assert (slots.gpus, slots.size, slots.threads, slots.notice) == ((), size, threads, "")


def test_auto_takes_the_cpu_where_no_gpu_can_be_used_and_says_why():
    slots = plan_slots(ASKED, NOTHING)

    assert slots.gpus == ()
    assert "no GPU can be used (no NVIDIA GPU in this machine), so the jobs run on the CPU" in slots.notice


@pytest.mark.parametrize(
    ("changed", "seen", "error", "says"),
    [
        ({"devices": ("0",)}, NOTHING, DeviceUnavailableError, "devices=[0] is asked for, but no GPU can be used here"),
        ({"devices": ("7",)}, there(gpu(0)), RequestError, "7 names no GPU here. There are: 0 (GPU-0000)."),
        ({"devices": ("GPU-00",)}, there(gpu(0), gpu(1)), RequestError, "GPU-00 fits 2 GPUs"),
        ({"devices": ("0", "GPU-0000")}, there(gpu(0)), RequestError, "names a GPU twice"),
        (
            {"devices": ("1",)},
            there(gpu(0), others=((1, "GPU-0001"),), why_not="GPU 1 is lost"),
            DeviceUnavailableError,
            "devices=[1] is asked for, but usable here: GPU 0 (GPU 1 is lost)",
        ),
        ({"gpus_per_job": 3}, there(gpu(0), gpu(1)), DeviceUnavailableError, "gpus_per_job=3 is asked for, but 2 GPUs"),
        ({"gpus_per_job": 2}, NOTHING, DeviceUnavailableError, "gpus_per_job=2 is asked for, but 0 GPUs"),
        ({}, there(allocated=True, why_not="the driver hangs"), DeviceUnavailableError, "0 GPUs can be used (the dri"),
    ],
)
def test_what_nobody_has_is_refused(changed: dict[str, Any], seen: There, error: type[Exception], says: str):
    with pytest.raises(error) as refused:
        plan_slots(replace(ASKED, **changed), seen)

    assert says in str(refused.value)


def test_a_job_gets_gpus_that_nobody_has():
    slots = plan_slots(replace(ASKED, gpus_per_job=2), there(*map(gpu, range(5))))

    def chosen(busy: set[str], taken: set[str]) -> list[int | None]:
        return [one.index for one in choose_gpus(slots, busy=busy, taken=taken) or ()]

    assert chosen(set(), set()) == [0, 1]
    assert chosen({"GPU-0000"}, {"GPU-0002"}) == [1, 3]
    assert chosen({"GPU-0000", "GPU-0001"}, {"GPU-0002", "GPU-0003"}) == []


def test_gpus_of_one_job_are_of_one_model_where_that_is_possible():
    mixed = there(gpu(0, "A100"), gpu(1, "T4"), gpu(2, "A100"))
    slots = plan_slots(replace(ASKED, gpus_per_job=2), mixed)

    first = choose_gpus(slots, busy=(), taken=())
    second = choose_gpus(slots, busy=(), taken=("GPU-0000",))

    assert [one.index for one in first or ()] == [0, 2]
    assert [one.index for one in second or ()] == [1, 2]


@pytest.mark.parametrize(
    ("gpus", "threads", "name"),
    [
        ((), 1, "CPU, 1 thread"),
        ((), 2, "CPU, 2 threads"),
        ((gpu(0),), 1, "GPU 0"),
        ((gpu(0), gpu(3)), 1, "GPU 0+3"),
        ((replace(gpu(0), index=None, uuid="MIG-12345678-9"),), 1, "MIG-12345678"),
    ],
)
def test_a_place_is_named_for_people(gpus: tuple[UsableGpu, ...], threads: int, name: str):
    assert describe_place(gpus, threads) == name
