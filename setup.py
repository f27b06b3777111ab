"""What pyproject.toml cannot say: the presets lie beside the package here, and inside it in a wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPresets(build_py):
    """Copies `configs` to `launcher/configs`.

    Declaring that as a package would do so too, but an editable install could then not be a plain path entry.
    """

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source in preset_files():
                target = Path(self.build_lib, "launcher", source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *preset_files()]


def preset_files() -> list[str]:
    return sorted(path.as_posix() for path in Path("configs").rglob("*.yaml"))


setup(cmdclass={"build_py": BuildWithPresets})
