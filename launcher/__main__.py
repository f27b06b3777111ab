"""`python -m launcher`."""

import sys

from launcher.safe_start import import_path

if __name__ == "__main__":
    # With `-m` the current folder is first, unless Python was told otherwise.
    is_safe = sys.flags.isolated or getattr(sys.flags, "safe_path", False)
    sys.path[:] = import_path(sys.path if is_safe else sys.path[1:])
    from launcher.cli.main import main_and_exit

    main_and_exit()
