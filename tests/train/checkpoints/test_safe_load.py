from __future__ import annotations

import collections
import copyreg
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import BoxMode

from launcher.errors import RequestError
from launcher.train.checkpoints.checkpoint import SafeCheckpointer
from launcher.train.checkpoints.safe_load import load_pickle, load_torch, load_weights, read_proposals_safely


class Runs:
    """A value whose pickle calls something when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def _object_array(content: Any) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = content
    return array


def _global_opcode(module: str, name: str, argument: str) -> bytes:
    """What no pickler writes but every unpickler runs: GLOBAL, an argument, REDUCE."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that a payload makes when it runs."""
    return tmp_path / "ran"


PAYLOADS = {
    "os.system": lambda mark: {"model": Runs(os.system, f"touch {mark}")},
    "builtins.eval": lambda mark: {"model": Runs(eval, f"open({str(mark)!r}, 'w')")},
    "builtins.exec": lambda mark: {"model": Runs(exec, f"open({str(mark)!r}, 'w')")},
    "open": lambda mark: {"model": Runs(open, str(mark), "w")},
    "getattr": lambda _: {"model": Runs(getattr, Runs(__import__, "os"), "system")},
    "nested": lambda mark: {"model": {"a": [({"b": Runs(os.system, f"touch {mark}")},)]}},
    "as key": lambda mark: {"model": {("a", Runs(os.system, f"touch {mark}")): 1}},
    "in an object array": lambda mark: {"model": {"w": _object_array(Runs(os.system, f"touch {mark}"))}},
    "harmless object array": lambda _: {"model": {"w": _object_array("text")}},
    "copyreg": lambda _: {"model": Runs(copyreg._reconstructor, collections.UserDict, object, None)},
    "beside the weights": lambda mark: {"model": {}, "optimizer": Runs(os.system, f"touch {mark}")},
    "subprocess": lambda mark: {"model": Runs(__import__("subprocess").check_output, ["touch", str(mark)])},
    "torch.load": lambda _: {"model": Runs(torch.load, "another.pth")},
    "a whole model": lambda _: {"model": torch.nn.Linear(2, 2)},
}


@pytest.mark.parametrize("payload", ["os.system", "builtins.eval", "nested", "in an object array", "subprocess"])
def test_the_payloads_are_real_ones(mark: Path, payload: str):
    pickle.loads(pickle.dumps(PAYLOADS[payload](mark)))

    assert mark.exists()


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_wants_to_run_something_is_refused(tmp_path: Path, mark: Path, payload: str, protocol: int):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(PAYLOADS[payload](mark), protocol=protocol))

    with pytest.raises(RequestError, match=r"not read: it wants to use"):
        load_weights(path)

    assert not mark.exists()


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("suffix", [".pth", ".pyth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_that_wants_to_run_something_is_refused(
    tmp_path: Path, mark: Path, payload: str, suffix: str, zipped: bool
):
    path = tmp_path / f"weights{suffix}"
    torch.save(PAYLOADS[payload](mark), path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(RequestError, match=r"not read: it wants to use"):
        load_weights(path)

    assert not mark.exists()


@pytest.mark.parametrize("name", ["weights.pkl", "weights.pth"])
@pytest.mark.parametrize(
    "content",
    [
        _global_opcode("posix", "system", "touch ran"),
        _global_opcode("nt", "system", "touch ran"),
        _global_opcode("numpy", "load", "ran"),
        _global_opcode("numpy.testing._private.utils", "runstring", "x"),
        b"(S'touch ran'\nios\nsystem\n.",  # INST
        b"\x80\x02\x82\x07.",  # EXT1, an entry of the copyreg registry
        b"\x80\x02Pran\n.",  # PERSID
        b"",
        b"garbage",
        struct.pack("<Q", 8),
    ],
)
def test_hand_made_pickles_run_nothing_and_end_in_a_clear_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    # As an entry that a program may have registered: it must not be a way around what is allowed.
    monkeypatch.setitem(copyreg._inverted_registry, 7, ("os", "getcwd"))  # type: ignore[attr-defined]

    with pytest.raises(RequestError, match=r"weights\.p.*(not read|cannot be read)"):
        load_weights(tmp_path / name)

    assert not (tmp_path / "ran").exists()


def test_the_refusal_names_what_the_file_wanted(tmp_path: Path):
    for name, save in (("a.pkl", lambda v, p: p.write_bytes(pickle.dumps(v))), ("a.pth", torch.save)):
        save({"model": Runs(os.system, "true")}, tmp_path / name)

        with pytest.raises(RequestError, match=r"wants to use posix\.system"):
            load_weights(tmp_path / name)


def test_a_numpy_type_cannot_be_made_to_take_bytes_for_objects(tmp_path: Path):
    """NumPy restores a type from whatever state a pickle gives it; flags that hide objects would read any memory."""
    state = b"(I3\nV|\nNNNI-1\nI-1\nI0\ntb"
    path = tmp_path / "a.pkl"
    for kind in ("O8", "V8"):
        path.write_bytes(b"cnumpy\ndtype\n(V" + kind.encode() + b"\nI0\nI1\ntR" + state + b".")

        with pytest.raises(RequestError, match="NumPy objects"):
            load_pickle(path)


def test_an_old_tar_of_torch_is_refused(tmp_path: Path, mark: Path):
    payload = tmp_path / "pickle"
    payload.write_bytes(pickle.dumps(Runs(os.system, f"touch {mark}")))
    with tarfile.open(tmp_path / "a.pth", "w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            archive.add(payload, name)

    with pytest.raises(RequestError, match="cannot be read as weights"):
        load_torch(tmp_path / "a.pth")

    assert not mark.exists()


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program_is_refused(tmp_path: Path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "a.pth"))

    with pytest.raises(RequestError, match="TorchScript"):
        load_torch(tmp_path / "a.pth")


# ---- what must be read


def _zoo(kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file as the zoo has it, and what detectron2 makes of it."""
    weights = {
        "conv1": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        "big_endian": np.arange(3, dtype=">i4"),
        "half": np.ones((2, 0), dtype=np.float16),
        "flag": np.array([True, False]),
        "scalar": np.array(3, dtype=np.int64),
    }
    if kind == "detectron2":
        return {"model": weights, "__author__": "somebody"}, {"model": weights, "__author__": "somebody"}
    converted = {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
    with_momentum = {**weights, "conv1_momentum": weights["conv1"]}
    if kind == "caffe2":
        return with_momentum, converted
    return {"blobs": with_momentum, "cfg": "NUM_CLASSES: 3", "lr": np.float32(0.5)}, converted


@pytest.mark.parametrize("kind", ["detectron2", "caffe2", "detectron 1"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_the_model_zoos_pickles_are_read_as_pythons_own_reader_would(tmp_path: Path, kind: str, protocol: int):
    path = tmp_path / "model.pkl"
    content, expected = _zoo(kind)
    path.write_bytes(pickle.dumps(content, protocol=protocol))

    loaded = load_weights(path)

    assert loaded.keys() == expected.keys()
    assert loaded["__author__"] == expected["__author__"]
    for name, array in expected["model"].items():
        assert loaded["model"][name].dtype == array.dtype
        np.testing.assert_array_equal(loaded["model"][name], array)
    assert loaded["model"].keys() == expected["model"].keys()


def test_a_pickle_of_python_2_is_read(tmp_path: Path):
    """Its strings are bytes there: names as SHORT_BINSTRING, an array's content as BINSTRING."""
    content = np.array([1.5, -2.0], dtype="<f4").tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01bt"
        b"R(I1\n(I2\ntcnumpy\ndtype\n(U\x02f4I0\nI1\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\nU\x08" + content + b"tb"
    )
    (tmp_path / "model.pkl").write_bytes(b"\x80\x02}U\x07conv1_w" + array + b"s.")

    loaded = load_weights(tmp_path / "model.pkl")

    np.testing.assert_array_equal(loaded["model"]["conv1_w"], np.array([1.5, -2.0], dtype=np.float32))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, content) for name in ("a.pkl", "a.pth", "a.pyth") for content in ([1, 2], {1: 2})),
        ("a.pkl", {"blobs": 3}),
        ("a.pyth", {"weight": 3}),
    ],
)
def test_a_file_without_weights_by_name_is_refused(tmp_path: Path, name: str, content: Any):
    path = tmp_path / name
    if name == "a.pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(RequestError, match=r"holds no weights"):
        load_weights(path)


def test_the_checkpointer_loads_weights_that_way(tmp_path: Path, mark: Path):
    model = torch.nn.Linear(2, 1)
    (tmp_path / "good.pkl").write_bytes(
        pickle.dumps({"model": {"weight": np.full((1, 2), 7, np.float32)}, "__author__": "somebody"})
    )
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"model": Runs(os.system, f"touch {mark}"), "__author__": "x"}))
    (tmp_path / "pycls.pyth").write_bytes(b"")
    torch.save({"model_state": {"weight": torch.full((1, 2), 5.0)}}, tmp_path / "pycls.pyth")

    SafeCheckpointer(model).load(str(tmp_path / "good.pkl"))
    assert model.weight.eq(7).all()
    SafeCheckpointer(model).load(str(tmp_path / "pycls.pyth"))
    assert model.weight.eq(5).all()
    with pytest.raises(RequestError, match=r"posix\.system"):
        SafeCheckpointer(model).load(str(tmp_path / "bad.pkl"))

    assert not mark.exists()


def test_weights_beside_the_model_can_be_matched_by_heuristics_as_detectron2_does(tmp_path: Path):
    model = torch.nn.ModuleDict({"deep": torch.nn.Linear(2, 1)})
    torch.save({"weight": torch.full((1, 2), 4.0), "bias": torch.zeros(1)}, tmp_path / "a.pth")

    SafeCheckpointer(model).load(f"{tmp_path / 'a.pth'}?matching_heuristics=True")

    assert model["deep"].weight.eq(4).all()


def proposals_of(content: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from detectron2.data import build

    monkeypatch.setattr(build, "pickle", pickle)
    read_proposals_safely()
    path.write_bytes(pickle.dumps(content))
    return build.load_proposals_into_dataset([{"image_id": 7}], str(path))


def test_precomputed_proposals_are_read_as_detectron2_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    boxes, scores = np.arange(8.0).reshape(2, 4), np.array([0.1, 0.9])
    content = {"ids": [7], "boxes": [boxes], "objectness_logits": [scores], "bbox_mode": BoxMode.XYXY_ABS}

    (record,) = proposals_of(content, tmp_path / "p.pkl", monkeypatch)

    assert record["proposal_boxes"].tolist() == boxes[::-1].tolist()


def test_precomputed_proposals_run_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = {"ids": [7], "boxes": Runs(os.system, f"touch {tmp_path / 'mark'}"), "objectness_logits": []}

    with pytest.raises(RequestError, match=r"p\.pkl"):
        proposals_of(content, tmp_path / "p.pkl", monkeypatch)

    assert not (tmp_path / "mark").exists()
