"""Networks: backbones, the Classifier, adapt() for your own modules, and MC dropout."""

from dal.models.adapt import AdaptedModel, adapt
from dal.models.classifier import Classifier
from dal.models.config import ModelConfig

__all__ = ["AdaptedModel", "Classifier", "ModelConfig", "adapt"]
