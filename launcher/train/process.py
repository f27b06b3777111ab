"""What a process that computes is prepared with: seeds, threads, and patches of detectron2, for good."""

from __future__ import annotations

import os

import torch
from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng

from launcher.device.policy.changes import SPARSE_SUMS
from launcher.device.policy.plan import DevicePlan
from launcher.train.bfloat16.sensitive import keep_boxes_in_float32
from launcher.train.checkpoints.safe_load import read_proposals_safely
from launcher.train.compat.cropping import crop_without_shapely
from launcher.train.compat.deformable import use_torchvision_deformable
from launcher.train.compat.gradient_clipping import clip_only_what_is_there
from launcher.train.compat.roi_align import use_sparse_roi_align
from launcher.train.compat.step_decay import decay_to_the_end
from launcher.train.output.logs import take_over_torch_logs
from launcher.train.samples.pixels import read_deep_pixels


def prepare_process(cfg: CfgNode, devices: DevicePlan) -> None:
    """Before anything is built, in every rank."""
    if devices.deformable_by == "torchvision":
        use_torchvision_deformable()
    if devices.roi_align_by == SPARSE_SUMS:
        use_sparse_roi_align()
    if devices.precision == "bfloat16":
        keep_boxes_in_float32()
    clip_only_what_is_there()
    crop_without_shapely()
    decay_to_the_end()
    read_proposals_safely()
    read_deep_pixels(cfg.INPUT.FORMAT)
    take_over_torch_logs()
    seed_all_rng(cfg.SEED)  # for the weights to start from; every iteration brings its own
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if devices.kind == "cpu" and devices.num_processes > 1:
        # Each rank would start a thread per core.
        torch.set_num_threads(max(1, torch.get_num_threads() // devices.num_processes))
    os.environ.setdefault("RAYON_NUM_THREADS", str(torch.get_num_threads()))  # hotcoco's, which else takes all cores
