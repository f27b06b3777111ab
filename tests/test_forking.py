from __future__ import annotations

import gc

from launcher.forking import importing


def test_the_collector_rests_while_importing_and_leaves_alone_what_was_imported():
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        imported = [[number] for number in range(1000)]

    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(imported)
    gc.unfreeze()
