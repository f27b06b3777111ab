"""How metrics are grouped in TensorBoard."""

from __future__ import annotations

import pytest

from launcher.train.output.tags import MEMORY, tag_of


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("total_loss", "1 overview/loss"),
        ("validation/total_loss", "1 overview/loss, validation"),
        ("lr", "1 overview/lr"),
        ("bbox/AP", "1 overview/AP bbox"),
        ("coco_val/segm/AP", "1 overview/AP segm on coco_val"),
        ("panoptic_seg/PQ", "1 overview/PQ panoptic_seg"),
        ("images_per_second", "1 overview/speed, images per s"),
        ("data_wait", "1 overview/waiting for data"),
        ("loss_cls", "2 losses/loss_cls"),
        ("validation/loss_cls", "2 losses/loss_cls, validation"),
        ("bbox/AP50", "3 AP/bbox AP50"),
        ("panoptic_seg/PQ_th", "3 AP/panoptic_seg PQ_th"),
        ("bbox/AP-traffic light", "4 AP per class/bbox traffic light"),
        ("bbox/AP-T-shirt", "4 AP per class/bbox T-shirt"),
        ("bbox/AP-a/b", "4 AP per class/bbox a/b"),
        ("one/val/bbox/AP-a/b", "4 AP per class/bbox a/b on one/val"),
        ("sem_seg/IoU-car", "4 AP per class/sem_seg car, IoU"),
        ("time", "5 details/time"),
        ("rpn/num_pos_anchors", "5 details/rpn/num_pos_anchors"),
        ("mine", "mine"),
        ("mine/score", "mine/score"),
        ("loss", "loss"),
    ],
)
def test_a_metric_has_its_place(name: str, tag: str):
    assert tag_of(name) == tag


def test_what_tells_the_story_comes_first():
    names = [
        "total_loss",
        "lr",
        "bbox/AP",
        "images_per_second",
        "data_wait",
        "loss_cls",
        "bbox/AP50",
        "bbox/AP-car",
        "time",
    ]

    groups = [tag.partition("/")[0] for tag in sorted([MEMORY, *map(tag_of, names)])]

    assert groups == ["1 overview"] * 6 + ["2 losses", "3 AP", "4 AP per class", "5 details"]
