"""Which code a job was submitted with: files that are compared when it starts, or a copy of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.config.presets import configs_folder
from launcher.config.values import read_json_if_valid
from launcher.errors import RequestError
from launcher.launch.provenance import HARMLESS
from launcher.run.paths import RunPaths
from launcher.safe_start import ABOVE

CODE = (".py", ".yaml", ".yml")
MOST_FILES = 5000
MOST_BYTES = 200 << 20
"""Of a copy."""
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class CodeState:
    """The code that a job would run."""

    commit: str
    """Of the project's repository; empty outside of one."""
    files: Mapping[str, str]
    """A digest of each file of code, by its path."""


def code_state(project: Path) -> CodeState:
    """That of this launcher and of the project in that folder."""
    files = [*package_files(), *(project / name for name in project_files(project))]
    code = [file for file in files if file.suffix in CODE][:MOST_FILES]
    return CodeState(
        commit=_git(project, "rev-parse", "HEAD").strip(), files={str(file): _digest(file) for file in code}
    )


def package_files() -> list[Path]:
    """The launcher's own, with its configuration files."""
    package = Path(ABOVE) / "launcher"
    found = {*package.rglob("*.py"), *configs_folder().rglob("*.yaml")}
    return sorted(file for file in found if "__pycache__" not in file.parts)


def project_files(project: Path) -> list[str]:
    """The files that git tracks there; outside of a repository the Python files of that folder itself."""
    if tracked := _git(project, "ls-files", "-z"):
        return [name for name in tracked.split("\0") if name and (project / name).is_file()]
    return sorted(file.name for file in project.glob("*.py"))


def difference(before: CodeState, now: CodeState) -> str:
    """In one line what is another than before; empty where nothing is."""
    edited = [name for name in {**before.files, **now.files} if before.files.get(name) != now.files.get(name)]
    parts = []
    if before.commit != now.commit:
        parts.append(f"commit {before.commit[:10] or 'none'}, now {now.commit[:10] or 'none'}")
    if edited:
        more = f" and {len(edited) - SHOWN} more" if len(edited) > SHOWN else ""
        parts.append(f"edited: {', '.join(edited[:SHOWN])}{more}")
    return "; ".join(parts)


def change_since_submission(run: Path, project: Path) -> str:
    """What was edited since the run in that folder was submitted; empty for nothing, and for a run with a copy."""
    before = read_json_if_valid(RunPaths(run).job_code, CodeState)
    return difference(before, code_state(project)) if before is not None else ""


def copy_code(target: Path, project: Path) -> tuple[str, ...]:
    """Copy the launcher's and the project's code into a new folder; where Python finds both.

    Raises:
        RequestError: it is too much, or cannot be written.
    """
    pairs = list(_pairs(target, project))
    if (size := sum(source.stat().st_size for source, _ in pairs)) > MOST_BYTES:
        raise RequestError(
            f"cluster.code=snapshot would copy {size >> 20} MB of files that git tracks in {project}; "
            f"there can be {MOST_BYTES >> 20} MB. Submit from a smaller folder, or with cluster.code=live."
        )
    try:
        shutil.rmtree(target, ignore_errors=True)
        for source, place in pairs:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    except OSError as error:
        raise RequestError(f"The code could not be copied into {target} ({error.strerror}).") from error
    return folders_in_copy(target)


def folders_in_copy(copy: Path) -> tuple[str, ...]:
    """Where Python finds the code of a copy."""
    return (str(copy / "launcher"), str(copy / "project"))


def _pairs(target: Path, project: Path) -> Iterator[tuple[Path, Path]]:
    above, configs = Path(ABOVE), configs_folder()
    for file in package_files():
        # configs/ beside the package, or inside of it.
        root = above if file.is_relative_to(above) else configs.parent
        yield file, target / "launcher" / file.relative_to(root)
    for name in project_files(project):
        if ".." not in Path(name).parts:
            yield project / name, target / "project" / name


def _digest(file: Path) -> str:
    try:
        return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()[:16]
    except OSError:
        return ""


def _git(folder: Path, *arguments: str) -> str:
    command: Sequence[str] = ["git", *HARMLESS, *arguments]
    environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(done.stdout) if done.returncode == 0 else ""
