"""What pyproject.toml cannot say: presets and what repacks detectron2 lie beside the package, inside it in a wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPresets(build_py):
    """Copies `configs` to `launcher/configs`, and `scripts/detectron2` to `launcher/scripts/detectron2`.

    Declaring that as a package would do so too, but an editable install could then not be a plain path entry.
    """

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source in files_beside():
                target = Path(self.build_lib, "launcher", source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *files_beside()]


def files_beside() -> list[str]:
    repacking = (path for path in Path("scripts/detectron2").iterdir() if path.suffix in (".py", ".toml", ".txt"))
    return sorted(path.as_posix() for path in (*Path("configs").rglob("*.yaml"), *repacking))


setup(cmdclass={"build_py": BuildWithPresets})
