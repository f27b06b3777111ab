"""What tasks begin with: own code, configuration, data sets, a process that is ready; and a model that is only used."""

from __future__ import annotations

from detectron2.config import CfgNode
from torch.nn import Module

from launcher.run.heartbeat import SMOKE, Heartbeat
from launcher.run.plan import RunPlan
from launcher.train.compat.cfg_node import to_cfg_node
from launcher.train.compat.smoke import compute_on_cpu
from launcher.train.own_code import load_own_code
from launcher.train.prediction.model import build_for_inference
from launcher.train.process import prepare_process
from launcher.train.samples.register import check_own_datasets, register_datasets, register_indexes
from launcher.train.stop import STOP
from launcher.train.trainer import Trainer


def prepare(plan: RunPlan, heartbeat: Heartbeat) -> tuple[type[Trainer], CfgNode]:
    """Make this process ready for a plan; gives the user's trainer and the configuration."""
    STOP.stop_at(plan.limits.stop_at)
    trainer_class = load_own_code(plan.own_code)
    cfg = to_cfg_node(plan.keys, plan.own_code.config_extensions)
    cfg.freeze()
    register_datasets(plan.data.splits)
    register_indexes(plan.data.indexes)
    check_own_datasets(plan.data.own_classes)
    prepare_process(cfg, plan.devices)
    if plan.devices.kind == "cpu":
        heartbeat.beat(SMOKE)
        compute_on_cpu()
    return trainer_class, cfg


def load_model(trainer_class: type[Trainer], cfg: CfgNode, heartbeat: Heartbeat, *, averaged: bool) -> Module:
    """The model with its weights, in evaluation mode, for a task that does not train it.

    Raises:
        RequestError: the weights are another model's.
        TrainingFailedError: a stop was asked meanwhile.
    """
    heartbeat.beat("loading weights")
    with STOP.interrupting("the weights were loaded"):
        return build_for_inference(trainer_class, cfg, averaged=averaged)
