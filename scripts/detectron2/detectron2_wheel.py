"""PEP 517 backend that makes a plain `detectron2` wheel from the one faithful redistribution on the package index.

Only the standard library, and no third-party code: what is repacked is downloaded at build time by pip, which finds
the index as the user configured it. README.md says where the code comes from and what it lacks.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

VERSION = "0.7.2"
SOURCE = f"sal-detectron2=={VERSION}"
SOURCE_SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"

DIST_INFO = f"detectron2-{VERSION}.dist-info"
WHEEL_NAME = f"detectron2-{VERSION}-py3-none-any.whl"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

ORIGIN = f"""\
This is detectron2 without its compiled operators. The Python and YAML files are those of the wheel
    {SOURCE} (sha256 {SOURCE_SHA256}),
a redistribution of https://github.com/facebookresearch/detectron2 at commit a59f056 of 2024-04-17. But for formatting,
nine lines differ from that commit, among them a fix for Python 3.11; the 92 files of the model zoo and the projects
deeplab, panoptic_deeplab and point_rend are identical.

Left out: the compiled detectron2._C (built for Python 3.10 and an old torch) and the top-level package `tools`.
Without _C there are no rotated boxes, no deformable convolution and no fast COCO evaluation; pycocotools' own
evaluation gives the same figures. The metadata was rewritten from what the code imports.
"""


class BuildError(Exception):
    """Something outside this backend prevents the build; the message says what to do."""


class UnsupportedOperation(Exception):
    """The name by which PEP 517 expects a refusal."""


# Hooks, as PEP 517 names them. A SystemExit reaches the user as one sentence, any other exception as a traceback.


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    folder = Path(metadata_directory, DIST_INFO)
    folder.mkdir()
    for name, text in metadata_files(REQUIREMENTS.read_text(encoding="utf-8")).items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return DIST_INFO


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = download(Path(folder))
            contents = repacked(source, SOURCE_SHA256, metadata_files(REQUIREMENTS.read_text(encoding="utf-8")))
        except BuildError as error:
            sys.exit(f"Cannot build detectron2: {error}")
    write_wheel(Path(wheel_directory, WHEEL_NAME), contents)
    return WHEEL_NAME


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    raise UnsupportedOperation(
        "detectron2 has no source distribution here: this folder only repacks a wheel. "
        "Build that with `pip wheel --no-deps ./scripts/detectron2`."
    )


# What goes into the wheel.


def metadata_files(requirements: str) -> dict[str, str]:
    """The text files of the dist-info folder, but for RECORD and LICENSE."""
    stripped = [line.strip() for line in requirements.splitlines()]
    requires = [line for line in stripped if line and not line.startswith("#")]
    headers = [
        "Metadata-Version: 2.1",
        "Name: detectron2",
        f"Version: {VERSION}",
        "Summary: Detectron2, a platform for object detection and segmentation, without its compiled operators",
        "Home-page: https://github.com/facebookresearch/detectron2",
        "Author: FAIR",
        "License: Apache-2.0",
        "Classifier: License :: OSI Approved :: Apache Software License",
        "Classifier: Programming Language :: Python :: 3",
        "Requires-Python: >=3.10",
        *(f"Requires-Dist: {requirement}" for requirement in requires),
        "Description-Content-Type: text/plain",
    ]
    return {
        "METADATA": "\n".join(headers) + "\n\n" + ORIGIN,
        "WHEEL": "Wheel-Version: 1.0\nGenerator: detectron2_wheel (1)\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "ORIGIN.txt": ORIGIN,
        "top_level.txt": "detectron2\n",
    }


def repacked(source: Path, sha256: str, metadata: dict[str, str]) -> dict[str, bytes]:
    """Archive name to content of the new wheel: what is kept of the `source` wheel, then the dist-info folder.

    Raises:
        BuildError: the source is not the wheel that was checked, or has not the expected parts.
    """
    content = source.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise BuildError(
            f"{source.name} has the sha256 {found}, expected {sha256}. It is not the file that was checked; "
            "clear pip's cache with `pip cache purge` and look at which index or folder pip took it from."
        )
    with zipfile.ZipFile(source) as archive:
        names = sorted(archive.namelist())
        licenses = [name for name in names if name.endswith(".dist-info/LICENSE")]
        kept = {name: archive.read(name) for name in names if is_kept(name)}
        if not licenses or "detectron2/__init__.py" not in kept:
            raise BuildError(f"{source.name} holds no detectron2 package with a LICENSE.")
        texts = {**metadata, "LICENSE": archive.read(licenses[0]).decode("utf-8")}
    kept.update({f"{DIST_INFO}/{name}": texts[name].encode("utf-8") for name in sorted(texts)})
    kept[f"{DIST_INFO}/RECORD"] = record(kept).encode("utf-8")
    return kept


def is_kept(name: str) -> bool:
    """Whether a file of the source wheel goes into ours: the package itself, without what was compiled."""
    return name.startswith("detectron2/") and not name.endswith(("/", ".so", ".pyd", ".pyc"))


def record(contents: dict[str, bytes]) -> str:
    """The RECORD of these files; its own line carries no hash."""
    lines = []
    for name, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join(lines) + f"{DIST_INFO}/RECORD,,\n"


def write_wheel(path: Path, contents: dict[str, bytes]) -> None:
    """The same contents give the same bytes: fixed times and modes, and stored, since compressors differ."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)


# The edge: pip.


def download(folder: Path, pip: tuple[str, ...] = (sys.executable, "-m", "pip")) -> Path:
    """Let pip put the source wheel into `folder`. Index, proxy and certificates are the user's own configuration.

    Raises:
        BuildError: pip could not get it, or got something else.
    """
    pinned = folder / "source.txt"
    pinned.write_text(f"{SOURCE} --hash=sha256:{SOURCE_SHA256}\n", encoding="utf-8")
    # The wheel is tagged for one Python and no platform, so pip has to look for exactly that.
    wanted = ["--python-version", "3.10", "--implementation", "cp", "--abi", "none", "--platform", "any"]
    command = [*pip, "download", "--no-deps", "--only-binary=:all:", *wanted, "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), "--requirement", str(pinned)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    raise BuildError(
        f"pip could not download {SOURCE} with the sha256 {SOURCE_SHA256}. Its output:\n{last_words(result.stdout)}\n"
        "It looks where your pip configuration says (`pip config list`, PIP_INDEX_URL). On a machine without a "
        "network, put that wheel into a folder and set PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER."
    )


def last_words(output: str, num_lines: int = 12) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return "\n".join(f"  | {line}" for line in lines[-num_lines:])
