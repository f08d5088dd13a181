"""Training of one round."""

from dal.training.config import TrainingConfig
from dal.training.fit import FitResult, fit

__all__ = ["FitResult", "TrainingConfig", "fit"]
