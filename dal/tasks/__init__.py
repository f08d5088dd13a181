"""What a label is: classification of images, of several labels, and segmentation."""

from dal.tasks.base import Metrics, Task
from dal.tasks.classification import CLASSIFICATION, Classification
from dal.tasks.multi_label import MULTI_LABEL, MultiLabel
from dal.tasks.segmentation import IGNORED, SEGMENTATION, Segmentation

__all__ = [
    "CLASSIFICATION",
    "IGNORED",
    "MULTI_LABEL",
    "SEGMENTATION",
    "Classification",
    "Metrics",
    "MultiLabel",
    "Segmentation",
    "Task",
]
