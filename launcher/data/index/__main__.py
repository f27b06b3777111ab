"""The process that makes one index: `python -m launcher.data.index FILE INDEX`."""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.data.index.build import build_index
from launcher.data.index.columns import write_index
from launcher.data.index.identity import ChangedError
from launcher.data.index.scan import NotIndexableError
from launcher.errors import printable


def main(file: Path, path: Path) -> int:
    """Make it, or say on stderr why it cannot be; the exit status says which."""
    try:
        write_index(build_index(file), path)
    except (OSError, ChangedError, NotIndexableError) as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
