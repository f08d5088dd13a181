"""Settings of a network and of its optimizer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from dal.errors import bad_value
from dal.models.backbones import Statistics, build_backbone
from dal.models.backbones.dense import SEGMENTATION_BACKBONES, build_segmentation_backbone
from dal.models.base_module import RANGES, BaseModule
from dal.models.classifier import Classifier
from dal.models.ensemble import DeepEnsemble
from dal.models.segmenter import Segmenter, check_class_weights
from dal.runtime.ranges import Ranges, check_ranges, share, whole
from dal.tasks import CLASSIFICATION, SEGMENTATION, Task

_PASSED_ON = ("dropout", "optimizer", "lr", "weight_decay", "momentum", "schedule")


@dataclass
class ModelConfig:
    """Settings of the network to train and of its optimizer.

    With a ``final_backbone``, the campaign's network is a small proxy that only selects points. When the campaign ends,
    the final model is trained once, in the same way, on all labels (selection via proxy, arXiv:1906.11829).

    Raises DalError for final_weights without a final_backbone, and for numbers out of range.
    """

    ranges: ClassVar[Ranges] = RANGES | {
        "backbone_dropout": share(below=True, noun="a probability"),
        "input_size": whole(1, 4096, null=True),
        "ensemble_size": whole(1, 100),
    }

    backbone: str = "small_cnn"
    """Network that turns images into features: small_cnn, resnet18_cifar, efficientnet_lite0,
    torchvision/NAME, or timm/NAME; for segmentation segmentation_net, or torchvision's fcn_resnet50, fcn_resnet101,
    deeplabv3_resnet50, deeplabv3_resnet101, deeplabv3_mobilenet_v3_large or lraspp_mobilenet_v3_large."""
    weights: str | None = None
    """Initial weights of the backbone: null (random), DEFAULT (ImageNet), or the path of a state dict."""
    dropout: float = 0.5
    """Dropout probability before the classification head."""
    backbone_dropout: float = 0.25
    """Dropout probability inside small_cnn; ignored by other backbones."""
    optimizer: str = "adam"
    """Optimizer: adam, adamw or sgd."""
    lr: float = 1e-3
    """Initial learning rate."""
    weight_decay: float = 0.0
    """Weight decay of the optimizer."""
    momentum: float = 0.9
    """Momentum of sgd; ignored by other optimizers."""
    schedule: str = "constant"
    """Learning-rate schedule over the updates of a round: constant or cosine."""
    input_size: int | None = None
    """Side length in pixels to which images are resized for the backbone; null keeps their size."""
    backbone_options: dict[str, Any] = field(default_factory=lambda: {})  # noqa: PIE807 - the help reads its body
    """Numbers for timm's create_model (+model.backbone_options.drop_path_rate=0.1) with timm/NAME, or width and depth
    of small_cnn."""
    freeze_backbone: bool = False
    """Whether to train only the head, on backbone features that are computed once."""
    ensemble_size: int = 1
    """Number of networks to train; more than one replaces dropout as the source of draws."""
    final_backbone: str | None = None
    """Backbone of the final model, trained once on all labels when the campaign ends; null trains none."""
    final_weights: str | None = None
    """Initial weights of the final model, in the same form as model.weights."""
    class_weights: list[float] | None = None
    """Weights of the classes in the loss, for segmentation only, such as [0.2,1,1]; null weights all equally."""

    def __post_init__(self) -> None:
        if self.final_weights is not None and self.final_backbone is None:
            raise bad_value("model.final_weights", "null without a model.final_backbone", self.final_weights)
        check_ranges(self, "model.")
        if self.class_weights is not None:
            check_class_weights("model.class_weights", self.class_weights)
        if self.freeze_backbone and self.weights is None:
            warnings.warn(
                "model.freeze_backbone: the backbone stays random because model.weights is null. Set "
                "model.weights=DEFAULT to load pre-trained weights if torchvision provides them.",
                stacklevel=3,
            )

    def final(self) -> ModelConfig | None:
        """Return the configuration of the final model, if there is one.

        Training updates all layers of the final model.

        >>> ModelConfig(final_backbone="torchvision/resnet50", lr=0.01).final().lr
        0.01
        """
        if self.final_backbone is None:
            return None
        is_same_kind = self.final_backbone.partition("/")[0] == self.backbone.partition("/")[0]
        return replace(
            self,
            backbone=self.final_backbone,
            weights=self.final_weights,
            backbone_options=self.backbone_options if is_same_kind else {},
            freeze_backbone=False,
            ensemble_size=1,
            final_backbone=None,
            final_weights=None,
        )

    def build(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        task: Task = CLASSIFICATION,
        statistics: Statistics | None = None,
    ) -> BaseModule:
        """Return a Classifier, DeepEnsemble or Segmenter, initialized with the global generator.

        ``statistics`` are the mean and standard deviation with which the images are normalized. Raises DalError for
        settings that do not fit the task.
        """
        options: dict[str, Any] = {name: getattr(self, name) for name in _PASSED_ON}
        if task.name == SEGMENTATION.name:
            if self.backbone == ModelConfig.backbone:
                raise bad_value("model.backbone", "a network for segmentation (set model=segmentation)", self.backbone)
            return self._segmenter(image_shape, num_classes, options)
        if self.backbone in SEGMENTATION_BACKBONES:
            raise bad_value("model.backbone", f"a network for {task.name} data, such as small_cnn", self.backbone)
        if self.class_weights is not None:
            raise bad_value("model.class_weights", f"null with {task.name} data", self.class_weights)
        options["freeze_backbone"] = self.freeze_backbone
        more: dict[str, Any] = {"options": self.backbone_options, "statistics": statistics}
        backbones = [
            build_backbone(self.backbone, image_shape, self.weights, self.backbone_dropout, self.input_size, **more)
            for _ in range(self.ensemble_size)
        ]
        if self.ensemble_size > 1:
            if task.name != CLASSIFICATION.name:
                raise bad_value("model.ensemble_size", f"1 with {task.name} data", self.ensemble_size)
            return DeepEnsemble(backbones, num_classes, **options)
        return Classifier(backbones[0], num_classes, task=task, **options)

    def _segmenter(self, image_shape: tuple[int, int, int], num_classes: int, options: dict[str, Any]) -> Segmenter:
        expected = {"ensemble_size": (1, "1"), "freeze_backbone": (False, "false"), "backbone_options": ({}, "none")}
        for name, (only, in_words) in expected.items():
            if (value := getattr(self, name)) != only:
                raise bad_value(f"model.{name}", f"{in_words} with segmentation data", value)
        check_class_weights("model.class_weights", self.class_weights, num_classes)
        backbone = build_segmentation_backbone(self.backbone, image_shape, self.weights, self.input_size)
        return Segmenter(backbone, num_classes, class_weights=self.class_weights, **options)
