from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import launcher.train

PROGRAM = """
import sys
import launcher.train
assert "torch" not in sys.modules and "detectron2" not in sys.modules
from launcher.train import Trainer
assert "torch" in sys.modules
print(Trainer.__module__, Trainer.__name__)
"""


def test_torch_is_imported_with_the_trainer_and_not_with_the_package():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout == "launcher.train.trainer Trainer\n", done.stderr


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="Trainr"):
        launcher.train.Trainr  # noqa: B018
