"""Training of one round."""

from dal.training.config import TrainingConfig
from dal.training.fit import FitResult, fit
from dal.training.fit_round import fit_round

__all__ = ["FitResult", "TrainingConfig", "fit", "fit_round"]
