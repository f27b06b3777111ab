"""How long a training is, in epochs of its data."""

from __future__ import annotations

from launcher.config.asked import names_in
from launcher.config.keys import Keys
from launcher.data.plan import DatasetPlan


def num_trained_on(keys: Keys, dataset: DatasetPlan) -> int:
    """Images that training uses; 0 where that is not known of every data set."""
    contents = {content.name: content for content in dataset.contents}
    names = names_in(keys, "TRAIN") if contents else ()
    if not names or any(name not in contents for name in names):
        return 0
    leaves_out = keys["DATALOADER.FILTER_EMPTY_ANNOTATIONS"]
    return sum(
        contents[name].num_annotated if leaves_out else contents[name].num_images for name in dict.fromkeys(names)
    )


def epochs_of(keys: Keys, num_images: int) -> float:
    """How often each image is trained on."""
    return float(keys["SOLVER.MAX_ITER"] * keys["SOLVER.IMS_PER_BATCH"] / num_images)


def epochs_text(epochs: float) -> str:
    """`0.4 epochs`, `37 epochs`."""
    number = f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.2g}"
    return f"{number} epoch" if number == "1" else f"{number} epochs"
