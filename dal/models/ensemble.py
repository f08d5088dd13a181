"""Deep ensemble, whose members are the draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dal.errors import bad_value
from dal.models.backbones import Backbone
from dal.models.classifier import Classifier


class DeepEnsemble(Classifier):
    """M networks as one Classifier that averages their probabilities (arXiv:1612.01474).

    Each member has a separate backbone and head, and trains on a separate loss. All members see the same batches in the
    same order and with the same augmentation, so the data is read once instead of M times. The members differ in their
    initial weights and dropout masks. Functions that request draws get the members, with dropout off. The features are
    the concatenated features of the members, (B, M * D), and the logits are the logarithms of the mean probabilities.

    ``options`` are those of Classifier. Raises DalError for fewer than two backbones and for features of unequal size.

    >>> from dal.models.backbones import SmallCNN
    >>> ensemble = DeepEnsemble([SmallCNN(1, (8, 8)) for _ in range(3)], num_classes=10).eval()
    >>> images = torch.rand(2, 1, 8, 8)
    >>> members = ensemble.member_log_probs(images)
    >>> members.shape, torch.allclose(ensemble(images).exp(), members.exp().mean(dim=1))
    (torch.Size([2, 3, 10]), True)
    """

    head: _MixtureHead

    def __init__(self, backbones: Sequence[Backbone], num_classes: int, **options: Any) -> None:
        if len(backbones) < 2:
            raise bad_value("backbones", "at least 2, one per ensemble member", len(backbones))
        super().__init__(_SideBySide(backbones), num_classes, **options)
        self.head = _MixtureHead(len(backbones), backbones[0].num_features, num_classes)

    @property
    def num_members(self) -> int:
        return len(self.head.members)

    def member_logits(self, x: Tensor) -> Tensor:
        """Return the (B, M, C) logits of all members."""
        return self.head.member_logits(self.head_input(x))

    def member_log_probs(self, x: Tensor) -> Tensor:
        """Return the (B, M, C) float32 log-probabilities of all members, in nats."""
        return self.member_logits(x).float().log_softmax(dim=-1)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of the members' losses.

        Each member's gradient therefore equals that of a network trained alone.
        """
        logits = self.member_logits(x)
        return F.cross_entropy(logits.flatten(0, 1), y.repeat_interleave(self.num_members)) * self.num_members


class _SideBySide(Backbone):
    """Concatenates the features of M backbones to (B, M * D)."""

    def __init__(self, members: Sequence[Backbone]) -> None:
        super().__init__()
        sizes = {member.num_features for member in members}
        if len(sizes) > 1:
            raise bad_value("backbones", "features of one size", sorted(sizes))
        self.members = nn.ModuleList(members)
        self.num_features = sum(member.num_features for member in members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([member(x) for member in self.members], dim=1)


class _MixtureHead(nn.Module):
    """Maps (B, M * D) features to (B, C) log mean probabilities."""

    def __init__(self, num_members: int, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(nn.Linear(num_features, num_classes) for _ in range(num_members))

    def member_logits(self, features: Tensor) -> Tensor:
        parts = features.chunk(len(self.members), dim=1)
        return torch.stack([member(part) for member, part in zip(self.members, parts, strict=True)], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        log_probs = self.member_logits(features).log_softmax(dim=-1)
        return log_probs.logsumexp(dim=1) - math.log(len(self.members))
