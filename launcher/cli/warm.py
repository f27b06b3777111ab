"""Imported once by a process that forks all trainings of a sweep: everything that each of them would import or read."""

from __future__ import annotations

from launcher.cli import training  # noqa: F401
from launcher.launch.provenance import installed_packages
from launcher.train import warm  # noqa: F401

installed_packages()
