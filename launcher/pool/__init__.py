"""`hydra/launcher=pool`: the jobs of a multirun in parallel on this machine's devices, for any Hydra application.

`from launcher.pool import register; register()` before `@hydra.main` makes it known to an application.
"""

from launcher.pool.registered import register

__all__ = ["register"]
