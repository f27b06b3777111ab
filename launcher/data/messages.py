"""What is said of each flaw of a COCO file, by its code. Words only: `checks.py` decides which are said."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """Templates of what is wrong, with `{examples}` where they belong, and of what to do about it."""

    what: str
    fix: str

    @property
    def without_examples(self) -> str:
        """What is wrong, for where examples stand elsewhere or are not known."""
        return self.what.replace(" ({examples})", "")


# detectron2 or pycocotools would stop at these, some of them only at the first evaluation.
ERRORS = {
    "category.malformed": Message(
        "{count} categories lack a whole-number id or a name ({examples})",
        "Give them both",
    ),
    "category.duplicate_id": Message(
        "{count} categories repeat the id of another one ({examples})",
        "Give each its own",
    ),
    "image.malformed": Message(
        "{count} images lack an id, file_name, width or height ({examples})",
        "Complete them",
    ),
    "image.mixed_ids": Message(
        "{count} of {num_images} image ids are text and the others numbers ({examples})",
        "Give all images ids of one kind",
    ),
    "image.duplicate_id": Message(
        "{count} images repeat the id of another one ({examples})",
        "Give each its own",
    ),
    "image.no_file": Message(
        "{count} of {num_images} images have no file in {images} ({examples})",
        "Set dataset.{split}.images to the folder that holds them",
    ),
    "image.unreadable_folder": Message(
        "the folder of images cannot be read ({examples})",
        "Make it readable, or set dataset.{split}.images to another folder",
    ),
    "image.not_a_file": Message(
        "{count} of {num_images} images are no files ({examples})",
        "Remove them from the folder",
    ),
    "annotation.malformed": Message(
        "{count} annotations lack an id ({examples})",
        "Number them",
    ),
    "annotation.duplicate_id": Message(
        "{count} annotations repeat the id of another one ({examples})",
        "Give each its own",
    ),
    "annotation.iscrowd": Message(
        "{count} annotations have an `iscrowd` that is neither 0 nor 1 ({examples})",
        "Write 0 for an object, 1 for a crowd",
    ),
    "annotation.unknown_image": Message(
        "{count} annotations belong to no image of the file ({examples})",
        "Remove them or add the images",
    ),
    "annotation.unknown_category": Message(
        "{count} annotations have a category that the file does not define ({examples})",
        "Add it to categories",
    ),
    "annotation.ignore": Message(
        "{count} annotations are marked `ignore`, which detectron2 refuses ({examples})",
        "Remove them or mark them iscrowd: 1",
    ),
    "box.malformed": Message(
        "{count} annotations have no bbox of four numbers [x, y, width, height] ({examples})",
        "Write them in pixels",
    ),
    "mask.malformed": Message(
        "{count} segmentations are neither lists of polygons nor an RLE ({examples})",
        "Export them again",
    ),
    "rle.malformed": Message(
        "{count} segmentations are broken RLEs ({examples})",
        "Export them again",
    ),
    "keypoints.malformed": Message(
        "{count} annotations have keypoints that are no list of numbers ({examples})",
        "Write x, y and visibility of each",
    ),
}

# The key that makes it matter, and the message.
MODEL_ERRORS = {
    "polygon.malformed": (
        "MODEL.MASK_ON",
        Message(
            "{count} annotations have polygons with something else than finite numbers ({examples})",
            "Fix or remove them",
        ),
    ),
    "polygon.far": (
        "MODEL.MASK_ON",
        Message(
            "{count} annotations have polygons far beyond any image ({examples})",
            "Are they in map coordinates or at another scale? COCO's are in pixels of the image",
        ),
    ),
    "rle.size": (
        "MODEL.MASK_ON",
        Message(
            "{count} masks (RLE) have another size than their image as listed ({examples})",
            "An RLE's size is [height, width] of its image: correct it, or the width and height of the image",
        ),
    ),
    "keypoints.odd": (
        "MODEL.KEYPOINT_ON",
        Message(
            "{count} annotations have keypoints that are not three numbers each, x, y and visibility ({examples})",
            "Write all three of each",
        ),
    ),
    "keypoints.not_finite": (
        "MODEL.KEYPOINT_ON",
        Message(
            "{count} annotations have keypoints with something else than finite numbers ({examples})",
            "Write 0, 0, 0 for what cannot be seen",
        ),
    ),
}

_NUMBER_THEM = (
    "To number them from 1, type: "
    """python -c "import json, sys; f = sys.argv[1]; d = json.load(open(f)); """
    """[a.update(id=n) for n, a in enumerate(d['annotations'], 1)]; json.dump(d, open(f, 'w'))" {json} """
    "(which rewrites that file)"
)

# For a file that is evaluated on: (the key that makes it matter, or none; the message) by flaw.
EVALUATION_ERRORS = {
    "annotation.not_for_evaluation": (
        "",
        Message(
            "{count} annotations lack `area` or `iscrowd` ({examples}), which COCO evaluation reads",
            "Add them",
        ),
    ),
    "annotation.text_id": (
        "",
        Message(
            "{count} annotations have an id that is text ({examples}), and COCO evaluation needs numbers",
            _NUMBER_THEM,
        ),
    ),
    "area.ignored": (
        "",
        Message(
            "{count} annotations have an `area` below 0 or above 10^10 ({examples}), and COCO evaluation leaves "
            "such objects out",
            "It is in pixels: correct it",
        ),
    ),
    "area.zero": (
        "MODEL.KEYPOINT_ON",
        Message(
            "{count} annotations have the `area` 0 ({examples}), which keypoints are measured by: the AP would be"
            " too low",
            "Write their areas in pixels",
        ),
    ),
    "annotation.id_too_large": (
        "",
        Message(
            "{count} annotations have an id that does not fit 64 bits ({examples}), which COCO evaluation needs",
            _NUMBER_THEM,
        ),
    ),
    "image.id_too_large": (
        "",
        Message(
            "{count} of {num_images} images have an id that does not fit 64 bits ({examples}), which COCO "
            "evaluation needs",
            "Number them",
        ),
    ),
    "category.duplicate_name": (
        "",
        Message(
            "{count} categories repeat the name of another one ({examples}), so that the AP of one would replace "
            "the other's",
            "Give each its own",
        ),
    ),
    "image.fractional_size": (
        "MODEL.MASK_ON",
        Message(
            "{count} of {num_images} images have a width or height with a decimal point ({examples}), and masks "
            "are evaluated on whole pixels",
            "Write whole numbers, such as 64 for 64.0",
        ),
    ),
    "mask.not_for_evaluation": (
        "MODEL.MASK_ON",
        Message(
            "{count} annotations, crowds included, have a segmentation that evaluating masks stops at "
            "({examples}): none, or a first polygon of less than three points",
            "Fix or remove them",
        ),
    ),
    "keypoints.not_for_evaluation": (
        "MODEL.KEYPOINT_ON",
        Message(
            "{count} annotations, crowds included, lack `keypoints` or `num_keypoints` ({examples}), which "
            "evaluating keypoints reads",
            "Add them",
        ),
    ),
}

# What a run can start with.
NOTICES = {
    "area.zero": Message(
        "{count} annotations have the `area` 0 ({examples}): COCO evaluation counts them as small ones in APs, "
        "APm and APl",
        "Write their areas in pixels",
    ),
    "area.too_large": Message(
        "{count} annotations have an `area` larger than their bbox ({examples}): APs, APm and APl go by it",
        "It is in pixels of the image",
    ),
    "box.degenerate": Message(
        "{count} of {num_objects} boxes have no area or are not finite numbers ({examples})",
        "Correct or remove them",
    ),
    "mask.no_polygon": Message(
        "{count} objects have no polygon of three points, detectron2 leaves them out ({examples})",
        "Fix or remove them",
    ),
    "polygon.left_out": Message(
        "{count} objects have, beside others, polygons of fewer than three points or of an odd number of "
        "coordinates, which detectron2 leaves out ({examples})",
        "Fix or remove those polygons",
    ),
    "keypoints.visibility": Message(
        "{count} annotations have a visibility that is not 0, 1 or 2 ({examples})",
        "Write 0 for not labeled, 1 for hidden, 2 for visible",
    ),
    "image.too_many_pixels": Message(
        "{count} images have more pixels than Pillow opens, 179 million ({examples})",
        "Cut or shrink them",
    ),
    "image.wide": Message(
        "{count} of the {num_headers} images looked into have more than 8 bits per value ({examples}): "
        "16-bit values are divided by 257, floats up to 1 multiplied by 255",
        "Save them with 8 bits where that makes them dark",
    ),
    "image.damaged": Message(
        "{count} of the {num_headers} images opened cannot be read to their end ({examples})",
        "Replace or remove them",
    ),
    "image.turned": Message(
        "{count} images are turned or mirrored by their EXIF orientation ({examples}), which detectron2 applies, and "
        "their listed size does not say whether the boxes are of the turned image",
        "Look at them with launcher data show, or save them turned, without EXIF",
    ),
    "image.same_content": Message(
        "{count} images have the pixels of another one ({examples})",
        "Keep one of each, with all objects",
    ),
    "image.other_size": Message(
        "{count} of the {num_headers} images looked into have another size than listed ({examples}), which "
        "detectron2 refuses",
        "Correct width and height",
    ),
}

# What may well be meant.
HINTS = {
    "annotation.id_zero": Message(
        "an annotation has id 0, which COCO evaluation takes for `not found`: it is measured under another number, and "
        "the file stays as it is",
        "",
    ),
    "image.turned_as_listed": Message(
        "{count} images are turned by their EXIF orientation ({examples}), and listed in the size that detectron2 "
        "turns them to",
        "",
    ),
    "image.nearly_same": Message(
        "{count} images look nearly the same as another one ({examples}): frames of one video, or copies",
        "",
    ),
}

ABOUT_EVALUATION = ("annotation.id_zero", "area.zero", "area.too_large")
