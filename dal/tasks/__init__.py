"""What a label is: single-label and multi-label classification."""

from dal.tasks.base import Metrics, Task
from dal.tasks.classification import CLASSIFICATION, Classification
from dal.tasks.multi_label import MULTI_LABEL, MultiLabel

__all__ = ["CLASSIFICATION", "MULTI_LABEL", "Classification", "Metrics", "MultiLabel", "Task"]
