"""What goes from a job's process to the controller."""

from __future__ import annotations

import traceback
from dataclasses import make_dataclass
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from launcher.pool.results import JobFailedError, pack, unpack


class TwoArgumentsError(Exception):
    def __init__(self, a: str, b: str) -> None:
        super().__init__(f"{a} and {b}")


def returned(value: Any, status: JobStatus = JobStatus.COMPLETED, **more: Any) -> JobReturn:
    made = JobReturn(overrides=["x=1"], status=status, **more)
    made.return_value = value
    return made


def raised(error: Exception) -> JobReturn:
    try:
        raise error
    except Exception as caught:
        return returned(caught, JobStatus.FAILED)


def test_a_value_arrives_as_it_was():
    got = unpack(pack(returned({"AP": 0.25, "names": ("a", "b")})))

    assert (got.status, got.return_value) == (JobStatus.COMPLETED, {"AP": 0.25, "names": ("a", "b")})
    assert got.overrides == ["x=1"]


def test_an_exception_arrives_with_where_it_was_raised():
    got = unpack(pack(raised(KeyError("gone"))))

    assert isinstance(got._return_value, KeyError)
    told = "".join(traceback.format_exception(got._return_value))
    assert "raise error" in told
    assert "test_results.py" in told


def test_a_value_without_a_copy_becomes_a_failure_that_says_what_to_return():
    got = unpack(pack(returned(lambda: 0)))

    assert got.status is JobStatus.FAILED
    assert isinstance(got._return_value, JobFailedError)
    assert "the job returned a function, which cannot be sent" in str(got._return_value)


def test_an_exception_that_cannot_be_made_again_is_told_in_words():
    got = unpack(pack(raised(TwoArgumentsError("this", "that"))))

    assert got.status is JobStatus.FAILED
    assert "TwoArgumentsError: this and that" in str(got._return_value)


def test_a_configuration_with_types_made_at_run_time_arrives_without_them():
    made = make_dataclass("MadeAtRunTime", [("rate", float, 0.5), ("names", Any, None)])
    cfg = OmegaConf.structured(made)
    cfg.names = ["${rate}"]

    got = unpack(pack(returned(1, cfg=cfg)))

    assert got.cfg == {"rate": 0.5, "names": [0.5]}
