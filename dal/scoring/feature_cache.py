"""Cache of the features that a frozen backbone computes."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dal.acquisition.search.rows import Rows
from dal.data.images import ImageData
from dal.errors import DalError
from dal.models.adapt import AdaptedModel
from dal.models.adapted.batch_form import batch_hooks
from dal.models.classifier import Classifier
from dal.scoring.model_pass import ModelPass
from dal.scoring.row_store import RowStore


class FeatureSource:
    """An ImageSource of (N, D) features.

    A frozen Classifier accepts a batch of features instead of images.

    >>> FeatureSource(torch.arange(6.0).view(3, 2)).batch([2, 0])
    tensor([[4., 5.],
            [0., 1.]])
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.rows[torch.as_tensor(indices, dtype=torch.int64)]


class FeatureCache:
    """Caches the features of whole data sets under a Classifier's frozen backbone.

    The cache stores a digest of the backbone's weights and recomputes the features when the digest changes. Features
    of other weights are therefore never used. Training, scoring and testing on features equal those on images, up to
    rounding. Augmentations do not apply, because the features are those of plain images; a warning says so once.

    >>> from dal.data.images import TensorSource
    >>> from dal.models.adapt import as_adapted
    >>> from dal.models.backbones import SmallCNN
    >>> images = TensorSource(torch.zeros(5, 1, 8, 8, dtype=torch.uint8))
    >>> data = ImageData("toy", images, list("abcde"), torch.arange(5) % 2, ["cat", "dog"], mean=[0.5], std=[0.5])
    >>> model = as_adapted(Classifier(SmallCNN(1, (8, 8)), 2, freeze_backbone=True))
    >>> FeatureCache().view(ModelPass(model), data).plain([0, 3]).shape
    torch.Size([2, 128])
    """

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[ImageData, _Features] = WeakKeyDictionary()
        self._counted: str | None = None
        self._warned = False

    def view(self, passes: ModelPass, data: ImageData, phase: str = "embed") -> ImageData:
        """Return the same points with features instead of images.

        Batches are (B, D) float32. The features are stored in the precision of ``scoring.precision``, in memory, or on
        disk if they exceed half of ``scoring.memory_budget``. The first call computes them in one pass over all images,
        charged to ``phase``. Later calls repeat the pass only if the backbone's weights have changed.

        Raises DalError if the model is not a Classifier with a frozen backbone. Raises NonFiniteError, naming the
        image, if features are not finite.
        """
        module = passes.model.module
        if not takes_features(passes.model):
            got = "one that is not frozen" if isinstance(module, Classifier) else f"adapt({type(module).__name__}(...))"
            raise DalError(
                f"model: expected a Classifier with freeze_backbone=True for cached features, got {got}; a "
                "custom training_step needs images."
            )
        assert isinstance(module, Classifier)
        digest = weights_digest(module.backbone)
        kept = self._kept.get(data)
        if kept is not None and kept.digest == digest:
            return kept.view
        self._warn_of_augmentation(data)
        # Drop the old features first; both may not fit in memory.
        self._kept.pop(data, None)
        del kept
        config = passes.config
        with passes.ledger.phase(phase):
            rows = passes.features(
                data,
                torch.arange(len(data)),
                phase,
                charged=digest != self._counted,
                new_store=lambda count, _: RowStore(count, config.bytes_allowed, folder=config.disk_folder),
            )
        view = replace(data, source=FeatureSource(rows), augmentation=None, augmented_source=None)
        self._kept[data] = _Features(digest, view)
        return view

    def already_counted(self, model: AdaptedModel) -> None:
        """Skip the charge of the next pass with the current weights.

        A resumed run recomputes its features, but counts this work only once.
        """
        if takes_features(model):
            assert isinstance(model.module, Classifier)
            self._counted = weights_digest(model.module.backbone)

    def _warn_of_augmentation(self, data: ImageData) -> None:
        if not self._warned and (data.augmentation is not None or data.augmented_source is not None):
            self._warned = True
            warnings.warn(
                "model.freeze_backbone: the head trains on features of plain images; the augmentation of "
                f"{data.name!r} is ignored.",
                stacklevel=3,
            )


@dataclass(frozen=True)
class _Features:
    digest: str
    view: ImageData


def takes_features(model: AdaptedModel) -> bool:
    """Whether the model accepts features instead of images. Batch hooks of a subclass take images."""
    module = model.module
    return isinstance(module, Classifier) and module.freeze_backbone and not batch_hooks(module)


def weights_digest(module: nn.Module) -> str:
    """Return a digest of the parameters and buffers, independent of the device.

    >>> layer = nn.Linear(2, 2)
    >>> before = weights_digest(layer)
    >>> _ = nn.init.zeros_(layer.weight)
    >>> weights_digest(layer) == before
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, value in module.state_dict().items():
        digest.update(f"{name}\x1f{value.dtype}\x1f{tuple(value.shape)}\x1f".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
