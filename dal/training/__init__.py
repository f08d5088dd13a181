"""Training of one round."""

from dal.training.config import TrainingConfig
from dal.training.fit import FitResult, fit
from dal.training.fit_round import fit_round
from dal.training.setup import TrainingSetup

__all__ = ["FitResult", "TrainingConfig", "TrainingSetup", "fit", "fit_round"]
