from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, BoxMode, Instances, RotatedBoxes
from pycocotools import mask as coco_mask

from launcher.train.output.shapes import Mask, shapes_of_annotations, shapes_of_result, shapes_of_targets

SIZE = (20, 30)  # height, width


def annotation(**changes: Any) -> dict[str, Any]:
    return {"category_id": 1, "bbox": [4, 2, 10, 6], "bbox_mode": BoxMode.XYWH_ABS, "iscrowd": 0, **changes}


def rectangle(left: int, top: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


COMPRESSED = coco_mask.encode(np.asfortranarray(rectangle(4, 2, 10, 6)))


@pytest.mark.parametrize(
    "segmentation",
    [
        [[4, 2, 14, 2, 14, 8, 4, 8]],
        COMPRESSED,
        {"size": list(SIZE), "counts": [4 * 20 + 2, *[6, 14] * 9, 6, 20 * 30 - 13 * 20 - 8]},
    ],
)
def test_an_object_has_its_box_and_its_mask_however_that_is_written(segmentation: Any):
    (shape,) = shapes_of_annotations({"annotations": [annotation(segmentation=segmentation)]}, SIZE)

    assert shape.bounds == (4, 2, 14, 8)
    assert shape.mask is not None
    assert shape.mask.bounds == (4, 2, 14, 8)
    assert shape.mask.pixels.all()


@pytest.mark.parametrize(
    "odd",
    [
        {"bbox": [4, 2, 0, 6]},
        {"bbox": [float("nan"), 2, 10, 6]},
        {"bbox": [4, 2]},
        {"bbox": None},
        {"category_id": None},
    ],
)
def test_an_object_that_cannot_be_drawn_is_left_out(odd: dict[str, Any]):
    sound = annotation()

    shapes = shapes_of_annotations({"annotations": [annotation(**odd), sound]}, SIZE)

    assert [shape.bounds for shape in shapes] == [(4, 2, 14, 8)]


@pytest.mark.parametrize("segmentation", [[[1, 2]], {"size": [5, 5], "counts": [25]}, "polygon", [["a", "b"] * 3], []])
def test_an_object_whose_mask_cannot_be_read_is_drawn_without(segmentation: Any):
    (shape,) = shapes_of_annotations({"annotations": [annotation(segmentation=segmentation)]}, SIZE)

    assert shape.mask is None


def test_a_record_without_annotations_has_no_objects():
    assert shapes_of_annotations({"file_name": "a.jpg"}, SIZE) == []


def test_instances_come_best_first_from_the_threshold_on():
    instances = Instances(
        SIZE,
        pred_boxes=Boxes(torch.tensor([[0.0, 0, 5, 5], [1, 1, 6, 6], [2, 2, 7, 7]])),
        scores=torch.tensor([0.4, 0.5, 0.9]),
        pred_classes=torch.tensor([0, 1, 2]),
        pred_masks=torch.from_numpy(np.stack([rectangle(0, 0, 5, 5)] * 3)).bool(),
        pred_keypoints=torch.tensor([[[1.0, 1.0, 0.9], [2.0, 2.0, 0.01]]] * 3),
    )

    shapes = shapes_of_result({"instances": instances}, 0.5)

    assert [(shape.class_index, round(shape.score or 0, 2)) for shape in shapes] == [(2, 0.9), (1, 0.5)]
    assert shapes[0].mask is not None
    assert shapes[0].keypoints is not None
    assert shapes[0].keypoints[:, 2].tolist() == [1, 0]  # the second is too unlikely to be shown


def test_a_rotated_box_has_rotated_corners():
    instances = Instances(
        SIZE,
        pred_boxes=RotatedBoxes(torch.tensor([[10.0, 10, 8, 2, 90]])),
        scores=torch.tensor([0.9]),
        pred_classes=torch.tensor([0]),
    )

    (shape,) = shapes_of_result({"instances": instances}, 0.5)

    assert shape.bounds == pytest.approx((9, 6, 11, 14))


def test_a_segmentation_has_one_shape_for_each_class_that_is_in_it():
    scores = torch.zeros(3, *SIZE)
    scores[2] = 0.5
    scores[0, :, :4] = 1

    shapes = shapes_of_result({"sem_seg": scores}, 0.5)

    assert [(shape.class_index, shape.is_stuff) for shape in shapes] == [(2, True), (0, True)]
    assert [shape.bounds for shape in shapes] == [(4, 0, 30, 20), (0, 0, 4, 20)]


def test_the_innermost_place_of_a_mask_is_in_its_thickest_part():
    mask = Mask.of(rectangle(2, 8, 25, 2) | rectangle(18, 2, 9, 12))

    assert mask is not None
    x, y = mask.innermost
    assert (x, y) == (pytest.approx(22, abs=2), pytest.approx(8, abs=2))


def test_a_panoptic_result_has_its_things_over_its_stuff():
    segments = torch.zeros(SIZE, dtype=torch.int32)
    segments[:, :10], segments[5:8, 20:25] = 1, 2
    infos = [
        {"id": 2, "isthing": True, "category_id": 7, "score": 0.8},
        {"id": 1, "isthing": False, "category_id": 3},
        {"id": 3, "isthing": True, "category_id": 1, "score": 0.9},  # nowhere
    ]

    shapes = shapes_of_result({"panoptic_seg": (segments, infos), "instances": None}, 0.5)

    assert [(shape.class_index, shape.is_stuff) for shape in shapes] == [(3, True), (7, False)]


def test_targets_of_a_training_sample_have_their_masks():
    from detectron2.structures import BitMasks, PolygonMasks

    for masks in (
        PolygonMasks([[np.array([4.0, 2, 14, 2, 14, 8, 4, 8])]]),
        BitMasks(torch.from_numpy(rectangle(4, 2, 10, 6)[None]).bool()),
    ):
        targets = Instances(
            SIZE, gt_boxes=Boxes(torch.tensor([[4.0, 2, 14, 8]])), gt_classes=torch.tensor([1]), gt_masks=masks
        )
        (shape,) = shapes_of_targets(targets)
        assert shape.mask is not None
        assert shape.mask.bounds == (4, 2, 14, 8)


def test_a_result_of_another_kind_has_nothing_to_draw():
    assert shapes_of_result({"proposals": object()}, 0.5) == []
