"""Networks: backbones, the Classifier and the Segmenter, adapt() for your own modules, and MC dropout."""

from dal.models.adapt import AdaptedModel, adapt
from dal.models.classifier import Classifier
from dal.models.config import ModelConfig
from dal.models.segmenter import Segmenter

__all__ = ["AdaptedModel", "Classifier", "ModelConfig", "Segmenter", "adapt"]
