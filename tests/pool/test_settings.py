from __future__ import annotations

from typing import Any

import pytest

from launcher.errors import RequestError
from launcher.pool.settings import Asked, StartMethod, read_settings

PLAIN: dict[str, Any] = {
    "devices": "auto",
    "gpus_per_job": 1,
    "max_parallel": 0,
    "start": "auto",
    "preload": [],
    "prefix": "pool.",
}


def read(**changed: Any) -> Asked:
    return read_settings(**{**PLAIN, **changed})


@pytest.mark.parametrize(
    ("typed", "devices"),
    [
        ("auto", "auto"),
        ("cpu", "cpu"),
        (1, ("1",)),
        ([0, 2], ("0", "2")),
        ("GPU-12ab", ("GPU-12ab",)),
        (["fa4e0000", "MIG-1/2/3"], ("fa4e0000", "MIG-1/2/3")),
    ],
)
def test_devices_are_auto_cpu_or_gpus_by_index_or_uuid(typed: Any, devices: str | tuple[str, ...]):
    assert read(devices=typed).devices == devices


def test_the_rest_is_taken_as_it_is():
    asked = read(gpus_per_job=2, max_parallel=3, start="spawn", preload=["torch"])

    assert (asked.gpus_per_job, asked.max_parallel, asked.start) == (2, 3, StartMethod.spawn)
    assert asked.preload == ("torch",)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"devices": []}, "pool.devices=[] names no device. Use pool.devices=auto, cpu, or GPUs such as [0,1]."),
        ({"devices": [0, 0]}, "pool.devices=[0,0] names a GPU twice. Name each GPU once."),
        ({"devices": "cuda"}, "pool.devices=cuda: 'cuda' is neither an index nor a UUID of a GPU."),
        ({"devices": [0, "cpu"]}, "pool.devices=[0,cpu]: 'cpu' is neither an index nor a UUID of a GPU."),
        ({"devices": [-1]}, "'-1' is neither an index"),
        ({"gpus_per_job": 0}, "pool.gpus_per_job=0 must be a whole number, 1 or more."),
        ({"gpus_per_job": 1.5}, "pool.gpus_per_job=1.5 must be a whole number"),
        ({"max_parallel": -1}, "pool.max_parallel=-1 must be a whole number; 0 runs as many jobs at once as fit."),
        ({"max_parallel": "two"}, "pool.max_parallel=two must be a whole number"),
        ({"start": "thread"}, "pool.start=thread: choose one of auto, fork, spawn."),
    ],
)
def test_what_cannot_be_meant_is_refused(changed: dict[str, Any], says: str):
    with pytest.raises(RequestError) as refused:
        read(**changed)

    assert says in str(refused.value)


def test_every_problem_is_named():
    with pytest.raises(RequestError) as refused:
        read(devices=[], gpus_per_job=0, max_parallel=-1, start="x")

    assert len(str(refused.value).splitlines()) == 4
