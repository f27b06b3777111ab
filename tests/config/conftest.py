from __future__ import annotations

import pytest

from launcher.config.known_keys import Detectron2Keys, read_keys


@pytest.fixture(scope="session")
def keys() -> Detectron2Keys:
    """Those of the installed detectron2, from the cache if there is one."""
    return read_keys()
