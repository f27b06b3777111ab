from __future__ import annotations

import gc
from contextlib import suppress

from launcher.forking import importing


def test_the_collector_rests_while_importing_and_leaves_alone_what_was_imported():
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        imported = [[number] for number in range(1000)]

    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(imported)
    gc.unfreeze()


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
