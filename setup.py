"""What pyproject.toml cannot say: the presets lie beside the package here, and inside it in a wheel."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["launcher", "launcher.*"]), "launcher.configs"],
    package_dir={"launcher.configs": "configs"},
    package_data={"launcher.configs": ["**/*.yaml"]},
)
