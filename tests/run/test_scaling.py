from __future__ import annotations

import pytest

from launcher.config.adjustment import adjusted
from launcher.run.scaling import scaled_to


@pytest.mark.parametrize(("reference", "processes"), [(0, 4), (2, 2), (8, 1), (8, 16), (2, 3)])
def test_scaling_is_what_detectron2_would_do_in_the_worker(reference: int, processes: int):
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultTrainer

    cfg = get_cfg()
    settings = ["SOLVER.REFERENCE_WORLD_SIZE", reference, "SOLVER.IMS_PER_BATCH", 16, "SOLVER.STEPS", (60, 80)]
    cfg.merge_from_list([*settings, "SOLVER.MAX_ITER", 90, "SOLVER.BASE_LR", 0.02, "TEST.EVAL_PERIOD", 33])
    keys = {"SOLVER": {**cfg.SOLVER, "STEPS": list(cfg.SOLVER.STEPS)}, "TEST": dict(cfg.TEST)}

    ours = adjusted(keys, scaled_to(processes, keys))

    theirs = DefaultTrainer.auto_scale_workers(cfg, processes)
    assert ours["SOLVER"] == {**theirs.SOLVER, "STEPS": list(theirs.SOLVER.STEPS)}
    assert ours["TEST"]["EVAL_PERIOD"] == theirs.TEST.EVAL_PERIOD
