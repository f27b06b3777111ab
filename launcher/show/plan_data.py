"""What a plan trains and evaluates on, and how often, in a line for each data set and one for the length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from launcher.config.asked import names_in
from launcher.data.plan import DataContent
from launcher.data.tally import printable
from launcher.run.length import epochs_of, epochs_text, num_trained_on
from launcher.run.plan import RunPlan, Train

_MOST_CLASSES = 4
"""That are named with their images; of more, the rarest and the most frequent one."""


def data_rows(plan: RunPlan) -> Iterator[str]:
    """Nothing of data whose annotations were not read."""
    for content in plan.data.contents:
        yield f"data: {content.name}: {_content_text(content)}"
    if not isinstance(plan.task, Train):
        return
    if num_images := num_trained_on(plan.keys, plan.data):
        total, batch = plan.keys["SOLVER.MAX_ITER"], plan.keys["SOLVER.IMS_PER_BATCH"]
        length = epochs_text(epochs_of(plan.keys, num_images))
        of = "" if len(names_in(plan.keys, "TRAIN")) == 1 else f" of {num_images:,} images"
        yield f"length: {total:,} iterations of {batch} {'image' if batch == 1 else 'images'}, {length}{of}"


def _content_text(content: DataContent) -> str:
    images = f"{content.num_images:,} images"
    if content.num_annotated < content.num_images:
        images += f" ({content.num_annotated:,} with objects)"
    return f"{images}, {content.num_objects:,} objects, {_classes_text(content.images_per_class)}"


def _classes_text(images: Mapping[str, int]) -> str:
    """`3 classes (images: date 12, fig 12, hazelnut 13)`."""
    number = f"{len(images)} {'class' if len(images) == 1 else 'classes'}"
    if len(images) <= _MOST_CLASSES:
        shown = ", ".join(f"{printable(name)} {count:,}" for name, count in images.items())
        return f"{number} (images: {shown})" if len(images) > 1 else f"{number} ({printable(next(iter(images), ''))})"
    rarest, most = min(images, key=images.__getitem__), max(images, key=images.__getitem__)
    return f"{number} (images: {images[rarest]:,} {printable(rarest)} to {images[most]:,} {printable(most)})"
