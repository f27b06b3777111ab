from __future__ import annotations

import pytest

from launcher.config.asked import evaluated_on, time_limit_s
from launcher.config.keys import Keys
from launcher.config.request import DatasetKind, DatasetRequest, SplitRequest

HERE = SplitRequest(json="a.json", images="a")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0),
        (90, 5400),
        ("1.5", 90),
        ("2:30", 150),
        ("1:00:00", 3600),
        ("1-0", 86400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("2-01:02:03", 176523),
        ("soon", None),
        ("-5", None),
        ("1:2:3:4", None),
        ("nan", None),
        ("9" * 400, None),
        ("", None),
    ],
)
def test_a_time_limit_is_written_as_for_slurm(text: object, seconds: float | None):
    assert time_limit_s(text) == seconds


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        (DatasetRequest(), ("fruits_val", "other")),
        (DatasetRequest(kind=DatasetKind.coco_json, name="fruits", train=HERE, val=HERE), ("fruits_val", "other")),
        (DatasetRequest(kind=DatasetKind.coco_json, name="fruits", train=HERE), ("other",)),
        (DatasetRequest(kind=DatasetKind.coco_json, name="nuts", train=HERE), ("fruits_val", "other")),
    ],
)
def test_a_val_split_without_files_is_not_evaluated_on(dataset: DatasetRequest, names: tuple[str, ...]):
    assert evaluated_on(dataset, Keys({"DATASETS": {"TEST": ["fruits_val", "other"]}})) == names
