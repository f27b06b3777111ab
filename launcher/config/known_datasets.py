"""The data sets that detectron2 registers by itself: their files, their number of classes, where they come from.

Data only, so that a missing file is known without importing detectron2. A test compares it with the installed one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a family of data sets comes from and how it is laid out."""

    title: str
    how_to_get: str


@dataclass(frozen=True, kw_only=True)
class RegisteredDataset:
    name: str
    needs: tuple[str, ...]
    """Files, and folders (ending in /) with something in them, under `dataset.root`."""
    num_classes: int | None
    """Classes of things, or None where only semantic labels are learnt."""
    origin: Origin
    packages: tuple[str, ...] = ()
    """Python packages that detectron2 imports to read it."""
    packages_to_evaluate: tuple[str, ...] = ()

    @property
    def instances(self) -> str:
        """Under `dataset.root`, the file that `load_coco_json` reads as it is; empty where another function reads."""
        is_plain = self.origin in (COCO, COCO_MINI)
        return next((need for need in self.needs if is_plain and need.endswith(".json")), "")


COCO = Origin(
    title="COCO",
    how_to_get=(
        "download it from cocodataset.org (train2017.zip, val2017.zip, annotations_trainval2017.zip; or the same with "
        "2014) and unpack it as <root>/coco/train2017, <root>/coco/val2017 and <root>/coco/annotations"
    ),
)
COCO_MINI = Origin(
    title="COCO, a smaller selection",
    how_to_get=(
        "detectron2's datasets/prepare_for_tests.sh fetches the *_100 files; the 2014 minival and valminusminival "
        "files come with Detectron; put them into <root>/coco/annotations"
    ),
)
COCO_TEST = Origin(
    title="COCO test",
    how_to_get=(
        "download test2017.zip and image_info_test2017.zip from cocodataset.org and unpack them as "
        "<root>/coco/test2017 and <root>/coco/annotations"
    ),
)
COCO_PANOPTIC = Origin(
    title="COCO panoptic",
    how_to_get=(
        "download panoptic_annotations_trainval2017.zip from cocodataset.org beside COCO itself, unpack it as "
        "<root>/coco/annotations and <root>/coco/panoptic_{train,val}2017, then make panoptic_stuff_* with "
        "detectron2's datasets/prepare_panoptic_fpn.py"
    ),
)
LVIS = Origin(
    title="LVIS",
    how_to_get=(
        "download the annotations from lvisdataset.org into <root>/lvis; the images are those of COCO 2017 "
        "(cocodataset.org) in <root>/coco/train2017 and <root>/coco/val2017"
    ),
)
LVIS_COCOFIED = Origin(
    title="LVIS with COCO's classes",
    how_to_get="make it from LVIS with detectron2's datasets/prepare_cocofied_lvis.py",
)
VOC = Origin(
    title="PASCAL VOC",
    how_to_get=(
        "download it from the PASCAL VOC home page at host.robots.ox.ac.uk (VOCtrainval_06-Nov-2007.tar, "
        "VOCtest_06-Nov-2007.tar, VOCtrainval_11-May-2012.tar) and move VOCdevkit/VOC2007 and VOCdevkit/VOC2012 "
        "to <root>"
    ),
)
CITYSCAPES = Origin(
    title="Cityscapes",
    how_to_get=(
        "register at cityscapes-dataset.com, download gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip and "
        "unpack both in <root>/cityscapes (for semantic segmentation then run "
        "cityscapesscripts/preparation/createTrainIdLabelImgs.py from the package cityscapesscripts)"
    ),
)
CITYSCAPES_PANOPTIC = Origin(
    title="Cityscapes panoptic",
    how_to_get=(
        "set up Cityscapes itself as <root>/cityscapes/{gtFine,leftImg8bit} (cityscapes-dataset.com), then run "
        "cityscapesscripts/preparation/createPanopticImgs.py from the package cityscapesscripts"
    ),
)
ADE20K = Origin(
    title="ADE20K scene parsing",
    how_to_get=(
        "download ADEChallengeData2016.zip from groups.csail.mit.edu/vision/datasets/ADE20K, unpack it in <root>, then "
        "run detectron2's datasets/prepare_ade20k_sem_seg.py"
    ),
)


def find_registered(name: str) -> RegisteredDataset | None:
    """The entry for one of detectron2's own names."""
    return _TABLE.get(name)


def registered_names() -> tuple[str, ...]:
    return tuple(_TABLE)


def _coco() -> list[RegisteredDataset]:
    annotations = "coco/annotations/"
    splits = {
        "2014_train": ("coco/train2014/", "train2014", COCO),
        "2014_val": ("coco/val2014/", "val2014", COCO),
        "2014_minival": ("coco/val2014/", "minival2014", COCO_MINI),
        "2014_valminusminival": ("coco/val2014/", "valminusminival2014", COCO_MINI),
        "2017_train": ("coco/train2017/", "train2017", COCO),
        "2017_val": ("coco/val2017/", "val2017", COCO),
        "2017_val_100": ("coco/val2017/", "val2017_100", COCO_MINI),
    }
    found = []
    for split, (images, tail, origin) in splits.items():
        for name, kind, num_classes in (
            (f"coco_{split}", "instances", 80),
            (f"keypoints_coco_{split}", "person_keypoints", 1),
        ):
            needs = (images, f"{annotations}{kind}_{tail}.json")
            found.append(RegisteredDataset(name=name, needs=needs, num_classes=num_classes, origin=origin))
    for name, tail in (("coco_2017_test", "test2017"), ("coco_2017_test-dev", "test-dev2017")):
        needs = ("coco/test2017/", f"{annotations}image_info_{tail}.json")
        found.append(RegisteredDataset(name=name, needs=needs, num_classes=80, origin=COCO_TEST))
    return found


def _coco_panoptic() -> list[RegisteredDataset]:
    found = []
    for split, images, tail in (
        ("train", "coco/train2017/", "train2017"),
        ("val", "coco/val2017/", "val2017"),
        ("val_100", "coco/val2017/", "val2017_100"),
    ):
        name = f"coco_2017_{split}_panoptic"
        panoptic = (images, f"coco/panoptic_{tail}/", f"coco/annotations/panoptic_{tail}.json")
        stuff = f"coco/panoptic_stuff_{tail}/"
        instances = f"coco/annotations/instances_{tail}.json"
        for full_name, needs, num_classes in (
            # 133 of things and stuff together: what heads for things should count is not ours to say.
            (name, panoptic, None),
            (f"{name}_separated", (*panoptic, stuff, instances), 80),
            (f"{name}_stuffonly", (images, stuff), None),
        ):
            found.append(
                RegisteredDataset(
                    name=full_name,
                    needs=needs,
                    num_classes=num_classes,
                    origin=COCO_PANOPTIC,
                    packages_to_evaluate=() if full_name.endswith("stuffonly") else ("panopticapi",),
                )
            )
    return found


def _lvis() -> list[RegisteredDataset]:
    # The file says for each image in which of COCO's folders it is, so no folder of images can be named for sure.
    table = (
        ("lvis_v1_train", "lvis/lvis_v1_train.json", 1203, LVIS),
        ("lvis_v1_val", "lvis/lvis_v1_val.json", 1203, LVIS),
        ("lvis_v1_test_dev", "lvis/lvis_v1_image_info_test_dev.json", 1203, LVIS),
        ("lvis_v1_test_challenge", "lvis/lvis_v1_image_info_test_challenge.json", 1203, LVIS),
        ("lvis_v0.5_train", "lvis/lvis_v0.5_train.json", 1230, LVIS),
        ("lvis_v0.5_val", "lvis/lvis_v0.5_val.json", 1230, LVIS),
        ("lvis_v0.5_val_rand_100", "lvis/lvis_v0.5_val_rand_100.json", 1230, LVIS),
        ("lvis_v0.5_test", "lvis/lvis_v0.5_image_info_test.json", 1230, LVIS),
        ("lvis_v0.5_train_cocofied", "lvis/lvis_v0.5_train_cocofied.json", 80, LVIS_COCOFIED),
        ("lvis_v0.5_val_cocofied", "lvis/lvis_v0.5_val_cocofied.json", 80, LVIS_COCOFIED),
    )
    return [
        RegisteredDataset(
            name=name, needs=("coco/", annotations), num_classes=num_classes, origin=origin, packages=("lvis",)
        )
        for name, annotations, num_classes, origin in table
    ]


def _voc() -> list[RegisteredDataset]:
    splits = [("2007", split) for split in ("trainval", "train", "val", "test")]
    splits += [("2012", split) for split in ("trainval", "train", "val")]
    return [
        RegisteredDataset(
            name=f"voc_{year}_{split}",
            needs=(f"VOC{year}/JPEGImages/", f"VOC{year}/Annotations/", f"VOC{year}/ImageSets/Main/{split}.txt"),
            num_classes=20,
            origin=VOC,
        )
        for year, split in splits
    ]


def _cityscapes() -> list[RegisteredDataset]:
    found = []
    for split in ("train", "val", "test"):
        needs = (f"cityscapes/leftImg8bit/{split}/", f"cityscapes/gtFine/{split}/")
        for task, num_classes in (("instance_seg", 8), ("sem_seg", None)):
            found.append(
                RegisteredDataset(
                    name=f"cityscapes_fine_{task}_{split}",
                    needs=needs,
                    num_classes=num_classes,
                    origin=CITYSCAPES,
                    packages=("cityscapesscripts", "shapely") if num_classes else (),
                    packages_to_evaluate=("cityscapesscripts",),
                )
            )
    for split in ("train", "val"):
        found.append(
            RegisteredDataset(
                name=f"cityscapes_fine_panoptic_{split}",
                needs=(
                    f"cityscapes/leftImg8bit/{split}/",
                    f"cityscapes/gtFine/cityscapes_panoptic_{split}/",
                    f"cityscapes/gtFine/cityscapes_panoptic_{split}.json",
                ),
                num_classes=None,
                origin=CITYSCAPES_PANOPTIC,
                packages_to_evaluate=("panopticapi", "cityscapesscripts"),
            )
        )
    return found


def _ade20k() -> list[RegisteredDataset]:
    base = "ADEChallengeData2016"
    return [
        RegisteredDataset(
            name=f"ade20k_sem_seg_{split}",
            needs=(f"{base}/images/{folder}/", f"{base}/annotations_detectron2/{folder}/"),
            num_classes=None,
            origin=ADE20K,
        )
        for split, folder in (("train", "training"), ("val", "validation"))
    ]


_TABLE = {entry.name: entry for entry in (*_coco(), *_coco_panoptic(), *_lvis(), *_voc(), *_cityscapes(), *_ade20k())}
