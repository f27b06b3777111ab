"""Reading weights that somebody names, without running what somebody may have put into them.

Pickles are programs. torch has a reader for its own that only makes tensors and plain values; for the pickles of the
model zoo, which hold NumPy arrays, there is one here.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from detectron2.data import build
from detectron2.structures import BoxMode

from launcher.errors import RequestError
from launcher.train.checkpoints.fit import part_alone

_TENSORS = (torch.Tensor, np.ndarray)
_PLAIN_KINDS = "biufcSU?"  # NumPy's kinds of types that are nothing but bytes; `O`, objects, is not among them


def load_weights(path: Path) -> dict[str, Any]:
    """The content of a weights file in the form of detectron2's own checkpoints: a dict with at least `model`.

    Raises:
        RequestError: the file wants to run something, or is no weights file.
    """
    if path.suffix == ".pkl":
        return with_weights_alone(_as_detectron2_has_it(load_pickle(path), path), path)
    loaded = load_torch(path)
    if path.suffix == ".pyth":  # pycls, as detectron2 reads it
        weights = {k: v for k, v in _part(loaded, "model_state", path).items() if not k.endswith("num_batches_tracked")}
        return {"model": weights, "__author__": "pycls", "matching_heuristics": True}
    return with_weights_alone(loaded if "model" in loaded else {"model": loaded}, path)


def with_weights_alone(loaded: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content of a file whose `model` has tensors and nothing else.

    Raises:
        RequestError: it has none, or most of them are one level deeper.
    """
    model = _part(loaded, "model", path)
    weights = {name: value for name, value in model.items() if isinstance(value, _TENSORS)}
    parts = {name: _tensors_in(value) for name, value in model.items() if isinstance(value, dict)}
    most = max(parts, key=lambda part: parts[part], default="")
    if parts.get(most, 0) > len(weights):
        also = "".join(f", others in {part}" for part in parts if parts[part] and part != most)
        raise RequestError(
            f"{path} has its weights in {most}{also}, where there should be a `model` of tensors alone. "
            f"Save those of {most}, and name that file{part_alone(str(path), most)}"
        )
    if not weights:
        raise RequestError(f"{path} holds no weights: there is not one tensor in it. Name another file.")
    return {**loaded, "model": weights}


def _tensors_in(part: dict[str, Any]) -> int:
    return sum(isinstance(value, _TENSORS) for value in part.values())


def load_torch(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote, as long as it is tensors and plain values.

    Raises:
        RequestError: it is something else.
    """
    if _is_torchscript(path):
        raise _refused(path, "a TorchScript program")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = _named_by_torch(str(error))
        raise (_refused(path, wanted) if wanted else _unreadable(path, error)) from None
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged or hostile bytes make it raise nearly anything
        raise _unreadable(path, error) from error
    return _checked_dict(loaded, path)


def load_pickle(path: Path) -> dict[str, Any]:
    """A pickle of NumPy arrays and plain containers, such as the model zoo's.

    Raises:
        RequestError: it holds or wants something else.
    """
    try:
        with open(path, "rb") as file:
            loaded = _finished(_PlainUnpickler(file, encoding="latin1").load())
    except _NotPlainError as error:
        raise _refused(path, str(error)) from None
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged or hostile bytes make it raise nearly anything
        raise _unreadable(path, error) from error
    return _checked_dict(loaded, path)


def read_proposals_safely() -> None:
    """From now on detectron2 reads the pickles of DATASETS.PROPOSAL_FILES_* as `load_pickle` does, in this process."""
    build.pickle = _ProposalPickles


class _ProposalPickles:
    """What detectron2 uses of the module `pickle`."""

    @staticmethod
    def load(file: BinaryIO, encoding: str) -> Any:
        try:
            return _finished(_ProposalUnpickler(file, encoding=encoding).load())
        except _NotPlainError as error:
            raise _refused(Path(file.name), str(error)) from None


class _NotPlainError(Exception):
    """The message names what the pickle wants."""


class _Array:
    """Stands for an array until its bytes have come; NumPy's own way of restoring one trusts the pickle."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        array = np.frombuffer(_as_bytes(content), dtype=_dtype_of(kind))
        self.value = array.reshape(shape, order="F" if fortran else "C").copy()


class _Dtype:
    """Stands for a NumPy type; only the byte order may be set."""

    def __init__(self, name: Any, *_: Any) -> None:
        kind = np.dtype(name) if isinstance(name, str) else None
        if kind is None or kind.kind not in _PLAIN_KINDS:
            raise _NotPlainError(f"NumPy objects (dtype {name!r})")
        self.value = kind

    def __setstate__(self, state: Any) -> None:
        self.value = self.value.newbyteorder(state[1])


def _make_array(*_: Any) -> _Array:
    return _Array()


def _array_from_buffer(content: Any, kind: Any, shape: Any, order: Any = "C") -> np.ndarray:
    return np.frombuffer(_as_bytes(content), dtype=_dtype_of(kind)).reshape(shape, order=order).copy()


def _scalar(kind: Any, content: Any) -> Any:
    return np.frombuffer(_as_bytes(content), dtype=_dtype_of(kind))[0]


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _NotPlainError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _dtype_of(kind: Any) -> np.dtype:
    if not isinstance(kind, _Dtype):
        raise _NotPlainError(f"a NumPy array of type {kind!r}")
    return kind.value


def _as_bytes(content: Any) -> bytes:
    if isinstance(content, str):  # a string of Python 2
        return content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise _NotPlainError("a NumPy array of objects")
    return bytes(content)


_ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _empty_bytes,  # what Python writes for those in its older formats
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _make_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_from_buffer for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _NotPlainError(f"{module}.{name}") from None


class _ProposalUnpickler(_PlainUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("detectron2.structures.boxes", "BoxMode"):
            return BoxMode  # a number with a name
        return super().find_class(module, name)


def _finished(value: Any) -> Any:
    """The value with arrays where `_Array` stands for them."""
    if isinstance(value, _Array | _Dtype):
        return value.value
    if isinstance(value, dict):
        return type(value)((_finished(key), _finished(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return type(value)(_finished(inner) for inner in value)
    return value


def _as_detectron2_has_it(loaded: dict[str, Any], path: Path) -> dict[str, Any]:
    """A file of detectron2's zoo as it is; one of Caffe2 or Detectron 1 as detectron2 converts it."""
    if "model" in loaded and "__author__" in loaded:
        return loaded
    blobs = _part(loaded, "blobs", path) if "blobs" in loaded else loaded
    weights = {key: value for key, value in blobs.items() if not key.endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}


def _part(loaded: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    part = loaded.get(name)
    if not isinstance(part, dict):
        raise RequestError(f"{path} holds no weights: there is no {name} in it. Name another file.")
    return part


def _checked_dict(loaded: Any, path: Path) -> dict[str, Any]:
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise RequestError(f"{path} holds no weights by name but one {type(loaded).__name__}. Name another file.")
    return loaded


def _is_torchscript(path: Path) -> bool:
    # Some versions of torch load these as what they are, also when told to read weights only.
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _named_by_torch(message: str) -> str | None:
    found = re.search(r"GLOBAL ([\w.]+)", message)
    return found[1].removesuffix(".") if found else None


def _refused(path: Path, wanted: str) -> RequestError:
    return RequestError(
        f"{path} is not read: it wants to use {wanted}, and a weights file that does so can run anything. "
        "Only tensors, NumPy arrays, numbers, texts and plain containers are read. If you trust where it comes from, "
        'save its weights alone with torch.save({"model": weights}, PATH) and name that file.'
    )


def _unreadable(path: Path, error: Exception) -> RequestError:
    reason = " ".join(str(error).rpartition("WeightsUnpickler error: ")[2].split())[:200] or type(error).__name__
    return RequestError(
        f"{path} cannot be read as weights ({reason}). Name another file, or fetch this one again if it is damaged."
    )
