"""Makes each iteration of a training last SLOW_S seconds longer: config_extensions=[tests.cluster.slow:install]."""

from __future__ import annotations

import os
import time
from typing import Any


def install(_: Any) -> None:
    from launcher.train.steps import Steps

    run_step = Steps.run_step

    def slow(self: Steps) -> None:
        time.sleep(float(os.environ.get("SLOW_S", "0")))
        run_step(self)

    Steps.run_step = slow  # type: ignore[method-assign]
