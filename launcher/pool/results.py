"""What a job returns, on its way from the job's process to the controller.

Pickled, because Hydra's JobReturn is made of whatever the task function returns. What cannot be pickled becomes a
failure that can be read.
"""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from launcher.errors import LauncherError


class JobFailedError(LauncherError):
    """A job ended without a result that could be sent: it crashed, was stopped, or returned what has no copy."""


class _RemoteError(Exception):
    """Where an exception was raised in the job's process, as its cause: a traceback itself cannot be sent."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def pack(returned: JobReturn) -> bytes:
    """The bytes that `unpack` makes this return of again."""
    sent = copy.copy(returned)
    sent.cfg, sent.hydra_cfg = _sendable(returned.cfg), _sendable(returned.hydra_cfg)
    where = ""
    if not _hydra_hands_on(returned):
        where = _where_raised(returned._return_value)
        if why_not := _why_not_sendable(returned._return_value):
            sent.status = JobStatus.FAILED
            sent.return_value = JobFailedError(why_not)
    return pickle.dumps((sent, where))


def unpack(data: bytes) -> JobReturn:
    """Raises whatever unpickling does where the data is not whole."""
    returned, where = pickle.loads(data)
    if where:
        returned._return_value.__cause__ = _RemoteError(where)
    assert isinstance(returned, JobReturn)
    return returned


def _hydra_hands_on(returned: JobReturn) -> bool:
    """Whether the failure travels as Hydra itself has arranged it, from 1.4 on: with its traceback."""
    return getattr(returned, "_remote_traceback", None) is not None


def _where_raised(value: Any) -> str:
    return "".join(traceback.format_exception(value)) if isinstance(value, BaseException) else ""


def completed(overrides: Sequence[str], value: object = None) -> JobReturn:
    """Of a job that ended well, and whose return Hydra did not make."""
    returned = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
    returned.return_value = value
    return returned


def failed(overrides: Sequence[str], error: BaseException) -> JobReturn:
    """Of a job that brought no return home."""
    returned = JobReturn(overrides=list(overrides), status=JobStatus.FAILED)
    returned.return_value = error
    return returned


def _sendable(cfg: DictConfig | None) -> DictConfig | None:
    """The same; without its types where those were made at run time, as a generated schema is."""
    try:
        pickle.dumps(cfg)
    except Exception:
        plain = OmegaConf.create(OmegaConf.to_container(cfg, resolve=False)) if cfg is not None else None
        return plain if isinstance(plain, DictConfig) else None
    return cfg


def _why_not_sendable(value: Any) -> str:
    """Empty where a copy can be made; that shows only when one is."""
    try:
        pickle.loads(pickle.dumps(value))
    except Exception as error:
        kind = type(value).__name__
        if isinstance(value, BaseException):
            return f"{kind}: {value}"
        return (
            f"the job returned a {kind}, which cannot be sent to the process that started the sweep ({error}). "
            "Return numbers, text, or the path of a file."
        )
    return ""
