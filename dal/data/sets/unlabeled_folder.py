"""A folder of images without labels, which people label."""

from dataclasses import dataclass

from dal.data.sets.config import DataConfig


@dataclass
class UnlabeledFolder(DataConfig):
    """stand-in"""

    root: str = ""
    """Folder of the images."""
    classes: list[str] | None = None
    """Class names in order."""
    image_size: int = 64
    """Side length in pixels to which images are cropped and resized."""
