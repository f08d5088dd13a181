"""The experiment of one_experiment.py in plain PyTorch, without a library.

The normalized images are in memory and read by index, without loader, logs or files. Scoring runs 20 plain passes with
dropout on.

This module has no command: see one_experiment.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

LARGE_BATCH = 256
"""Images per batch in passes without training."""

Phase = Callable[[str], AbstractContextManager[None]]


def experiment(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    labeled: Tensor,
    new_model: Callable[[int], nn.Module],
    settings: Any,
    phase: Phase,
) -> list[float]:
    """Return one test accuracy per round.

    ``labeled`` is the initial set, and ``new_model(round)`` creates a new network.
    """
    images, labels = train
    accuracies = []
    for round in range(settings.rounds + 1):
        model = new_model(round)
        with phase("train"):
            fit(model, images[labeled], labels[labeled], settings)
        with phase("test"):
            accuracies.append(accuracy(model, *test))
        if round == settings.rounds:
            break
        with phase("score"):
            is_left = torch.ones(len(images), dtype=torch.bool)
            is_left[labeled] = False
            unlabeled = is_left.nonzero().flatten()
            scores = bald(model, images[unlabeled], settings.draws)
            labeled = torch.cat([labeled, unlabeled[scores.topk(settings.query).indices]])
    return accuracies


def fit(model: nn.Module, images: Tensor, labels: Tensor, settings: Any) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    model.train()
    for _ in range(settings.epochs):
        for batch in torch.randperm(len(images)).split(settings.batch_size):
            x = images[batch]
            # Flip each image with probability 0.5.
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
            loss = cross_entropy(model(x), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.inference_mode()
def bald(model: nn.Module, images: Tensor, num_draws: int) -> Tensor:
    """Return the (N,) mutual information of label and network, in nats.

    The network must not contain BatchNorm.
    """
    model.train()
    scores = []
    for x in images.split(LARGE_BATCH):
        probs = torch.stack([model(x).softmax(dim=1) for _ in range(num_draws)])
        entropy_of_mean = torch.special.entr(probs.mean(dim=0)).sum(dim=1)
        scores.append(entropy_of_mean - torch.special.entr(probs).sum(dim=2).mean(dim=0))
    return torch.cat(scores)


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    predicted = torch.cat([model(x).argmax(dim=1) for x in images.split(LARGE_BATCH)])
    return float((predicted == labels).double().mean())
