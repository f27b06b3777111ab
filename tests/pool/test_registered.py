"""How Hydra gets to know the pool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ABOVE = Path(__file__).parent.parent.parent
NO_PLUGINS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hydra_plugins":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""
INSTANTIATE = """
from hydra.core.plugins import Plugins
from launcher.pool import register
register(); register()
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext
with initialize(config_path=None, version_base="1.3"):
    cfg = compose(overrides=["hydra/launcher=pool", "hydra.launcher.max_parallel=3"], return_hydra_config=True)
made = Plugins.instance().instantiate_launcher(
    hydra_context=HydraContext(config_loader=None, callbacks=None), task_function=print, config=cfg
)
print(type(made).__name__, made._asked().max_parallel, made._asked().devices)
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ABOVE, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("before", ["", NO_PLUGINS], ids=["beside other plugins", "where there are none"])
def test_hydra_instantiates_it_with_its_settings(before: str):
    assert run(before + INSTANTIATE) == "PoolLauncher 3 auto"


def test_making_it_known_imports_nothing_that_only_a_sweep_needs():
    code = (
        "import sys; from launcher.pool import register; register();"
        "print([name for name in sys.modules if name.startswith(('torch', 'detectron2', 'rich', 'launcher.device'))])"
    )

    assert run(code) == "[]"


def test_a_sweep_imports_no_torch_into_the_process_that_controls_it():
    code = (
        "import sys, launcher.pool.opened, launcher.pool.batch;"
        "print([name for name in sys.modules if name.startswith(('torch', 'detectron2'))])"
    )

    assert run(code) == "[]"
