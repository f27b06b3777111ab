"""What is made of a few records that are only looked at: those that cannot be read are left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from launcher.train.samples.blame import is_about_the_image, reason_of

logger = logging.getLogger(__name__)


def readable(
    make: Callable[[dict[str, Any]], Any], records: Iterable[dict[str, Any]], *, otherwise: str
) -> Iterator[Any]:
    """What `make` gives for each record, if anything; the log says `otherwise` of those that cannot be read."""
    for record in records:
        try:
            made = make(record)
        except Exception as error:  # what unreadable bytes and odd annotations raise has no common ground
            if not is_about_the_image(error):
                raise
            logger.info("%s %s (%s)", record.get("file_name"), otherwise, reason_of(error))
        else:
            if made is not None:
                yield made
