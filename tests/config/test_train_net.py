from __future__ import annotations

import pytest

from launcher.config.train_net import habits_in


@pytest.mark.parametrize(
    ("typed", "answers"),
    [
        ("--num-gpus 8", ["--num-gpus: set device.count=8."]),
        ("--num-gpus=2 SEED=3", ["--num-gpus: set device.count=2."]),
        ("--num-gpus SEED=3", ["--num-gpus: set device.count=NUMBER."]),
        ("--num-gpus", ["--num-gpus: set device.count=NUMBER."]),
        ("--resume SEED=3", ["--resume: leave it out. The same command resumes its run by itself"]),
        ("--eval-only MODEL.WEIGHTS=a.pth", ["--eval-only: type launcher eval RUN"]),
        (
            "--config-file configs/COCO-Detection/retinanet_R_50_FPN_1x.yaml",
            ["here model=COCO-Detection/retinanet_R_50_FPN_1x if it is one"],
        ),
        ("--config-file mine.yaml", ["for example model=COCO-Detection/faster_rcnn_R_50_FPN_1x"]),
        ("--num-machines 2 --dist-url tcp://a", ["--num-machines: a training runs on one machine", "--dist-url: a"]),
        ("--config-dir conf --cfg job -m SEED=1,2 --help", []),
    ],
)
def test_an_option_of_train_net_is_answered_with_what_stands_for_it(typed: str, answers: list[str]):
    lines = habits_in(typed.split())

    assert len(lines) == len(answers)
    assert all(answer in line for answer, line in zip(answers, lines, strict=True))
