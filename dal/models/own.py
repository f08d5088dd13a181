"""Tells dal's own modules from those of users."""

from __future__ import annotations

from dal.models.classifier import Classifier
from dal.models.ensemble import DeepEnsemble
from dal.models.segmenter import Segmenter


def is_own(module: object) -> bool:
    """Return whether a module is exactly one of dal's, whose steps and hooks are known.

    >>> from dal.models.backbones import SmallCNN
    >>> class Mine(Classifier):
    ...     pass
    >>> is_own(Classifier(SmallCNN(1, (8, 8)), 10)), is_own(Mine(SmallCNN(1, (8, 8)), 10))
    (True, False)
    """
    return type(module) in (Classifier, DeepEnsemble, Segmenter)
