"""What there is to choose from, in columns that fit the screen."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.config.offers import Offer
from launcher.show.screen import cut, width_between

NARROWEST, WIDEST = 80, 160
LONGEST = {"default": 18}
"""Characters of a column that may be cut."""
IN_JSON_ONLY = ("file",)


def listing_text(offers: Sequence[Offer]) -> str:
    """One line each below a line of headings; columns in which nothing stands are left out, and the last is cut."""
    headings = [
        heading
        for heading in offers[0].facts
        if heading not in IN_JSON_ONLY and any(offer.facts.get(heading) for offer in offers)
    ]
    rows = [["name", *headings], *([one.name, *(_shortened(one, heading) for heading in headings)] for one in offers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    width = width_between(NARROWEST, WIDEST)
    return "\n".join(cut("  ".join(map(str.ljust, row, widths)).rstrip(), width) for row in rows)


def _shortened(offer: Offer, heading: str) -> str:
    text, longest = offer.facts.get(heading, ""), LONGEST.get(heading)
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
