"""The wheel that scripts/detectron2 makes, from a small stand-in for the wheel that pip would download."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import stat
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "scripts" / "detectron2"


def load_backend() -> ModuleType:
    spec = importlib.util.spec_from_file_location("detectron2_wheel", FOLDER / "detectron2_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


backend = load_backend()

SOURCE_FILES = {
    "tools/__init__.py": b"",
    "tools/train_net.py": b"print('not ours to ship')\n",
    "detectron2/__init__.py": b"__version__ = '0.7.2'\n",
    "detectron2/_C.cpython-310-x86_64-linux-gnu.so": b"\x7fELF",
    "detectron2/model_zoo/configs/Base-RCNN-FPN.yaml": b"MODEL: {}\n",
    "sal_detectron2-0.7.2.dist-info/LICENSE": b"Apache License\n",
    "sal_detectron2-0.7.2.dist-info/METADATA": b"Name: sal-detectron2\nRequires-Dist: numpy<2\n",
    "sal_detectron2-0.7.2.dist-info/RECORD": b"",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source.whl", SOURCE_FILES)


def write_source(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def repack(source: Path, requirements: str = "numpy\n") -> dict[str, bytes]:
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    return backend.repacked(source, sha256, backend.metadata_files(requirements))


def fake_pip(tmp_path: Path, body: str) -> tuple[str, ...]:
    """A pip that does what the Python lines in `body` say; `dest` is where it was asked to download to."""
    script = tmp_path / "fake_pip.py"
    script.write_text("import sys\ndest = sys.argv[sys.argv.index('--dest') + 1]\n" + body)
    return (sys.executable, str(script))


def test_the_wheel_holds_the_package_and_neither_compiled_code_nor_tools(source: Path):
    names = set(repack(source))

    assert names == {
        "detectron2/__init__.py",
        "detectron2/model_zoo/configs/Base-RCNN-FPN.yaml",
        "detectron2-0.7.2.dist-info/LICENSE",
        "detectron2-0.7.2.dist-info/METADATA",
        "detectron2-0.7.2.dist-info/ORIGIN.txt",
        "detectron2-0.7.2.dist-info/RECORD",
        "detectron2-0.7.2.dist-info/WHEEL",
        "detectron2-0.7.2.dist-info/top_level.txt",
    }


def test_what_is_kept_is_kept_to_the_byte_with_its_licence(source: Path):
    contents = repack(source)

    assert contents["detectron2/__init__.py"] == SOURCE_FILES["detectron2/__init__.py"]
    assert contents["detectron2-0.7.2.dist-info/LICENSE"] == b"Apache License\n"


def test_every_file_of_the_wheel_stands_in_its_record_with_hash_and_size(source: Path, tmp_path: Path):
    wheel = tmp_path / backend.WHEEL_NAME
    backend.write_wheel(wheel, repack(source))

    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    rows = list(csv.reader(contents["detectron2-0.7.2.dist-info/RECORD"].decode().splitlines()))

    assert [row[0] for row in rows] == list(contents)
    assert rows.pop() == ["detectron2-0.7.2.dist-info/RECORD", "", ""]
    for name, recorded, size in rows:
        digest = base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).decode().rstrip("=")
        assert (recorded, size) == (f"sha256={digest}", str(len(contents[name]))), name


def test_the_same_source_gives_the_same_bytes_with_fixed_times_and_modes(source: Path, tmp_path: Path):
    backend.write_wheel(tmp_path / "first.whl", repack(source))
    backend.write_wheel(tmp_path / "second.whl", repack(source))

    assert (tmp_path / "first.whl").read_bytes() == (tmp_path / "second.whl").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.whl") as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert stat.filemode(entry.external_attr >> 16) == "-rw-r--r--"


def test_another_file_under_the_right_name_is_refused_with_both_hashes(source: Path):
    found = hashlib.sha256(source.read_bytes()).hexdigest()

    with pytest.raises(backend.BuildError, match=f"(?s){found}.*{backend.SOURCE_SHA256}"):
        backend.repacked(source, backend.SOURCE_SHA256, {})


def test_a_wheel_without_the_package_or_its_licence_is_refused(tmp_path: Path):
    source = write_source(tmp_path / "source.whl", {"detectron2/__init__.py": b""})

    with pytest.raises(backend.BuildError, match="no detectron2 package with a LICENSE"):
        repack(source)


def test_the_metadata_names_what_the_code_needs_and_does_not_cap_numpy():
    metadata = Parser().parsestr(backend.metadata_files(backend.REQUIREMENTS.read_text())["METADATA"])
    requires = metadata.get_all("Requires-Dist") or []

    assert metadata["Name"] == "detectron2"
    assert metadata["Version"] == "0.7.2"
    assert {"fvcore>=0.1.5,<0.1.6", "iopath>=0.1.7", "setuptools<81", "numpy", "torch>=1.8"} <= set(requires)
    assert "sal-detectron2==0.7.2" in metadata.get_payload()
    assert not any("#" in line or not line.strip() for line in requires)


def test_the_wheel_is_tagged_for_every_python_and_platform():
    assert "Root-Is-Purelib: true\nTag: py3-none-any\n" in backend.metadata_files("")["WHEEL"]
    assert backend.WHEEL_NAME.endswith("-py3-none-any.whl")


def test_the_metadata_is_prepared_without_any_download_and_equals_that_of_the_wheel(source: Path, tmp_path: Path):
    name = backend.prepare_metadata_for_build_wheel(str(tmp_path))

    prepared = (tmp_path / name / "METADATA").read_bytes()
    contents = repack(source, backend.REQUIREMENTS.read_text())
    assert name == "detectron2-0.7.2.dist-info"
    assert prepared == contents[f"{name}/METADATA"]


def test_pip_is_asked_for_exactly_the_checked_wheel(tmp_path: Path):
    pip = fake_pip(
        tmp_path,
        "open(dest + '/sal.whl', 'w').write('\\n'.join(sys.argv) + open(dest + '/source.txt').read())\n",
    )

    asked = backend.download(tmp_path, pip).read_text()

    assert f"sal-detectron2==0.7.2 --hash=sha256:{backend.SOURCE_SHA256}" in asked
    for option in ("download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--python-version\n3.10"):
        assert option in asked
    assert "index" not in asked


@pytest.mark.parametrize("body", ["sys.exit('ERROR: no such host')", "print('ERROR: no such host')"])
def test_a_failed_download_repeats_what_pip_said_and_names_the_way_out(tmp_path: Path, body: str):
    with pytest.raises(backend.BuildError, match=r"(?s)could not download.*no such host.*PIP_FIND_LINKS"):
        backend.download(tmp_path, fake_pip(tmp_path, body))


def test_the_build_hook_turns_an_understood_failure_into_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # An empty folder instead of an index: the hook's own pip then finds nothing, without a network.
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit, match="Cannot build detectron2: pip could not download"):
        backend.build_wheel(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_a_source_distribution_is_refused_with_the_command_that_works():
    with pytest.raises(backend.UnsupportedOperation, match="pip wheel --no-deps"):
        backend.build_sdist("anywhere")
