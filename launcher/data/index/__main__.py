"""The process that makes one index: `python -m launcher.data.index FILE INDEX [PORTION]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from launcher.data.index.build import build_index
from launcher.data.index.columns import write_index
from launcher.data.index.identity import ChangedError
from launcher.data.index.scan import NotIndexableError
from launcher.data.portion import Portion
from launcher.errors import printable


def main(file: Path, path: Path, portion: Portion | None = None) -> int:
    """Make it, or say on stderr why it cannot be; the exit status says which."""
    try:
        write_index(build_index(file, portion=portion), path)
    except (OSError, ChangedError, NotIndexableError) as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *(Portion(**json.loads(text)) for text in sys.argv[3:])))
