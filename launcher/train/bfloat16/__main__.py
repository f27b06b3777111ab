"""Child program: builds a model and measures what bfloat16 does to its layers on this CPU.

Usage: python -m launcher.train.bfloat16 JOURNAL QUESTION
"""

from __future__ import annotations

from typing import Any

import torch

from launcher.config.keys import Keys
from launcher.config.request import OwnCode
from launcher.config.values import from_plain, to_plain
from launcher.device.look.child_journal import Journal, run
from launcher.train.bfloat16.compare import compare_kinds
from launcher.train.bfloat16.iteration import calls_in_iteration
from launcher.train.compat.cfg_node import to_cfg_node
from launcher.train.compat.deformable import use_torchvision_deformable
from launcher.train.own_code import load_own_code


def main(journal: Journal, ask: dict[str, Any]) -> None:
    journal.say(stage="building the model")
    own_code = from_plain(OwnCode, ask["own_code"])
    trainer_class = load_own_code(own_code)
    cfg = to_cfg_node(Keys(ask["keys"]), own_code.config_extensions)
    if ask["deformable_by"] == "torchvision":
        use_torchvision_deformable()
    # One thread: with several, whoever else computes on this machine would be measured too.
    torch.set_num_threads(1)
    try:
        model = trainer_class.build_model(cfg)
        journal.say(stage="a forward pass")
        calls = calls_in_iteration(model, cfg)
        journal.say(stage="measuring")
        journal.say(layers=to_plain(compare_kinds(calls)), stage="end")
    except Exception as error:
        journal.say(problem=f"{type(error).__name__}: {str(error)[:300]}", stage="end")


if __name__ == "__main__":
    run(main)
