"""What a person and a program read of a run."""

from __future__ import annotations

from launcher.config.adjustment import Adjustment
from launcher.show.run import _adjustment_rows


def test_an_overridden_ordinal_is_reported_and_the_default_is_not():
    def adjustment(asked: str) -> Adjustment:
        return Adjustment(
            setting="MODEL.DEVICE", asked=asked, planned="cuda", reason="the GPUs are chosen by device.ids"
        )

    (row,) = _adjustment_rows([adjustment("cuda:1"), adjustment("cuda")])

    assert row.split()[:5] == ["MODEL.DEVICE", "asked", '"cuda:1"', "planned", '"cuda"']
