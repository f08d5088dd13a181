"""Networks: backbones, the Classifier, adapt() for a user's own module, MC dropout."""

from dal.models.adapt import AdaptedModel, adapt
from dal.models.classifier import Classifier
from dal.models.config import ModelConfig

__all__ = ["AdaptedModel", "Classifier", "ModelConfig", "adapt"]
