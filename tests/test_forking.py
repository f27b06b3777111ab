from __future__ import annotations

import gc
import sys
import weakref
from contextlib import suppress
from types import ModuleType

import pytest

from launcher.forking import importing


class Knot:
    """Only the collector takes it apart."""

    def __init__(self) -> None:
        self.itself = self


def test_the_collector_rests_while_importing_and_leaves_alone_what_was_imported(monkeypatch: pytest.MonkeyPatch):
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        monkeypatch.setitem(sys.modules, "new", ModuleType("new"))
        imported = [[number] for number in range(1000)]

    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(imported)
    gc.unfreeze()


def test_where_nothing_was_left_to_import_garbage_is_still_collected():
    knot = Knot()
    waste = weakref.ref(knot)
    del knot
    with importing():
        pass

    gc.collect()
    assert waste() is None


def test_a_collector_that_somebody_has_switched_off_stays_off():
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


def test_the_collector_works_again_after_an_import_that_failed():
    with suppress(ImportError), importing():
        raise ImportError

    assert gc.isenabled()
    gc.unfreeze()
