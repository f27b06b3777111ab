"""Our table of detectron2's own data sets against the installed detectron2."""

from __future__ import annotations

import pytest

from launcher.config.known_datasets import find_registered, registered_names

detectron2_data = pytest.importorskip("detectron2.data", reason="needs detectron2")

FOLDERS = ("image_root", "image_dir", "gt_dir", "panoptic_root", "sem_seg_root")
FILES = ("json_file", "panoptic_json")


@pytest.fixture(scope="module")
def root() -> str:
    """Where the installed detectron2 expects its data, when it was imported."""
    path: str = detectron2_data.MetadataCatalog.get("voc_2007_test").dirname
    return path.removesuffix("VOC2007")


def test_every_name_that_detectron2_registers_is_in_the_table_and_no_other():
    prefixes = ("coco_20", "keypoints_coco_", "lvis_", "voc_", "cityscapes_", "ade20k_")
    theirs = {name for name in detectron2_data.DatasetCatalog.list() if name.startswith(prefixes)}

    assert set(registered_names()) == theirs


@pytest.mark.parametrize("name", registered_names())
def test_the_table_names_the_files_and_classes_that_detectron2_will_read(name: str, root: str):
    metadata = detectron2_data.MetadataCatalog.get(name).as_dict()
    entry = find_registered(name)
    assert entry is not None

    read = {metadata[key].removeprefix(root).rstrip("/") for key in (*FOLDERS, *FILES) if metadata.get(key)}
    if "_panoptic" in name:
        # Named in the metadata for other versions of the same data, not read for this one.
        read -= {"cityscapes/gtFine/train", "cityscapes/gtFine/val"}
        read = {path for path in read if name.endswith("_separated") or "instances_" not in path}
    if name.startswith("voc_"):
        read = {path.rstrip("/") for path in entry.needs if path.startswith(metadata["dirname"].removeprefix(root))}
        assert len(read) == 3

    assert {need.rstrip("/") for need in entry.needs} == read
    if entry.num_classes is not None:
        assert entry.num_classes == len(metadata["thing_classes"])
