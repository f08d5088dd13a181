"""The experiment of one_experiment.py with baal (github.com/baal-org/baal).

The code follows the MC dropout example of baal's documentation: batches of 32, inputs replicated in memory, and the
initial weights loaded every round. It avoids costs of the example that baal does not require. The optimizer is new
every round; the example keeps its state over the reset. There are no loader workers, because starting them costs more
than reading from memory. Accuracies are measured outside the clock, without the dropout that baal's test leaves on.
With caching, passes without training also use large batches.

This module has no command: see one_experiment.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import structlog
import torch
from baal import ActiveLearningDataset, ModelWrapper
from baal.active import ActiveLearningLoop
from baal.active.heuristics import BALD
from baal.bayesian.caching_utils import MCCachingModule
from baal.bayesian.dropout import patch_module
from baal.modelwrapper import TrainingArgs
from experiment_by_hand import LARGE_BATCH, Phase
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import RandomHorizontalFlip

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


class Images(Dataset[Any]):
    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Tensor], Tensor] | None = None) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        return (image if self.transform is None else self.transform(image)), self.labels[index]


def experiment(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    labeled: Tensor,
    new_model: Callable[[int], nn.Module],
    settings: Any,
    phase: Phase,
    *,
    caching: bool,
) -> list[dict[str, Tensor]]:
    """Return the weights after each round."""
    mask = np.zeros(len(train[0]), dtype=int)
    mask[labeled.numpy()] = 1
    dataset = ActiveLearningDataset(
        Images(*train, RandomHorizontalFlip()), labelled=mask, pool_specifics={"transform": None}
    )
    test_set = Images(*test)
    model = patch_module(new_model(0))
    if caching:
        model = MCCachingModule(model)
    arguments = TrainingArgs(
        batch_size=settings.batch_size,
        epoch=settings.epochs,
        use_cuda=False,
        workers=0,
        criterion=nn.CrossEntropyLoss(),
        replicate_in_memory=not caching,
    )
    wrapper = ModelWrapper(model, arguments)
    loop = ActiveLearningLoop(
        dataset,
        wrapper.predict_on_dataset,
        BALD(),
        query_size=settings.query,
        iterations=settings.draws,
        verbose=False,
    )
    initial_weights = deepcopy(wrapper.state_dict())
    weights = []
    for round in range(settings.rounds + 1):
        wrapper.load_state_dict(initial_weights)
        arguments.optimizer = torch.optim.Adam(wrapper.get_params(), lr=settings.lr)
        arguments.batch_size = settings.batch_size
        with phase("train"):
            wrapper.train_on_dataset(dataset)
        if caching:
            arguments.batch_size = LARGE_BATCH
        with phase("test"):
            wrapper.test_on_dataset(test_set)
        weights.append(deepcopy(wrapper.state_dict()))
        if round == settings.rounds:
            break
        with phase("score"):
            loop.step()
    return weights
