"""One image as a COCO file lists it."""

# Without annotations as text: what makes values of JSON reads those of a NamedTuple as they are.
from typing import NamedTuple


class ListedImage(NamedTuple):
    """What a COCO file says of one image."""

    label: str
    """Its id, as shown."""
    file_name: str
    width: float
    height: float

    @property
    def size(self) -> tuple[float, float]:
        return self.width, self.height
