"""Trains the final model once on all labels of a campaign."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dal.costs.ledger import Ledger
from dal.data.images import ImageData, known_indices
from dal.errors import DalError, bad_value
from dal.models.adapt import as_adapted
from dal.models.base_module import BaseModule
from dal.models.config import ModelConfig
from dal.runs.final_model import commit_final_model, read_final_model
from dal.runs.round import PRIMARY_METRIC, Round, in_words, on_test
from dal.runtime.distributed import from_rank_zero, is_rank_zero, num_ranks
from dal.runtime.seeding import derive_seed, isolated_rng
from dal.scoring.measured import measured
from dal.training.fit import fit
from dal.training.setup import Points, TrainingSetup


def new_final_model(config: ModelConfig, data: ImageData, seed: int = 0) -> BaseModule:
    """Return the untrained final model for the images and classes of ``data``.

    Raises DalError if ``config`` has no final model or the model cannot be built.
    """
    final = config.final()
    if final is None:
        raise bad_value("model.final_backbone", "the name of a backbone", None)
    with isolated_rng(seed, "target", "init"):
        try:
            return final.build(data.image_shape, data.num_classes, data.task, data.statistics)
        except DalError as error:
            text = str(error)
            prefix = "model.final_" if text.startswith(("backbone:", "weights:")) else "model.final_backbone: "
            raise DalError(prefix + text) from error


def train_final_model(
    setup: TrainingSetup,
    data: ImageData,
    labeled: Points,
    validation: Points | None = None,
    *,
    test: ImageData | None = None,
) -> Round:
    """Train a model like a first round, and test it.

    Training starts from the model's current weights. This is the last step of selection via proxy (arXiv:1906.11829).

    Args:
        setup: the model, its settings, an empty ledger, and the seed of the campaign.
        data: the training set.
        labeled: (L,) int64 indices into ``data``, and their (L,) int64 labels.
        validation: the indices and labels of validation points.
        test: the test set. None skips the test.

    Returns:
        A row like those of the journal, with label counts, metrics, updates, and the costs of each phase.

    Raises:
        DalError: as dal.training.fit() does.

    >>> import torch
    >>> from dal.data.images import TensorSource
    >>> from dal.models.adapt import as_adapted
    >>> from dal.models import Classifier, backbones
    >>> from dal.scoring.model_pass import ModelPass
    >>> from dal.training import TrainingConfig
    >>> images = TensorSource(torch.zeros(5, 1, 8, 8, dtype=torch.uint8))
    >>> data = ImageData("toy", images, list("abcde"), torch.arange(5) % 2, ["cat", "dog"], mean=[0.5], std=[0.5])
    >>> model = as_adapted(Classifier(backbones.SmallCNN(1, (8, 8)), 2))
    >>> setup = TrainingSetup(ModelPass(model), TrainingConfig(min_updates=1, max_updates=2))
    >>> row = train_final_model(setup, data, (torch.arange(4), data.labels[:4]), test=data)
    >>> row["labels_bought"], row["updates"], row["samples_forward_test"]
    (4, 2, 5)
    """
    setup = replace(setup, seed=derive_seed(setup.seed, "target"), logs=setup.logs.of_final_model())
    passes, ledger = setup.passes, setup.passes.ledger
    known = None if validation is None else data.trainable(validation)
    result = fit(setup, data, data.trainable(labeled), known)
    metrics: dict[str, Any] = {}
    if test is not None:
        indices = known_indices(test)
        with ledger.phase("test"):
            metrics = measured(passes, test.whole(), (indices, test.labels[indices]), "test").row("test")
    num_validation = 0 if validation is None else len(validation[0])
    return Round(
        {
            "num_labeled": len(labeled[0]),
            "num_validation": num_validation,
            "labels_bought": len(labeled[0]) + num_validation,
            **metrics,
            **result.row(),
            **ledger.row(),
            "devices": num_ranks(),
        }
    )


def finish_final_model(
    folder: Path,
    config: ModelConfig,
    setup: TrainingSetup,
    data: ImageData,
    labeled: Points,
    validation: Points | None = None,
    *,
    test: ImageData | None = None,
) -> Round:
    """Return the row of the final model, training it if needed.

    ``setup`` is the setup of the campaign. Its model does not change. The row is written last and atomically, so that a
    run that was killed earlier trains the final model again with the same result.
    """
    names = {"backbone": config.final_backbone, "weights": config.final_weights}
    digest = _digest(labeled, validation)
    done = from_rank_zero(read_final_model(folder))
    # People can change labels after the final model. Rows of older runs have no digest.
    if (
        done is not None
        and names.items() <= done.items()
        and done["num_labeled"] == len(labeled[0])
        and (done.get("labels_sha256", digest) == digest)
    ):
        return done
    model = new_final_model(config, data, setup.seed)
    passes = replace(setup.passes, model=as_adapted(model), ledger=Ledger(), half_size=False)
    own = replace(setup, passes=passes)
    row = Round(names | train_final_model(own, data, labeled, validation, test=test) | {"labels_sha256": digest})
    if is_rank_zero():
        commit_final_model(folder, row, {k: v.detach().cpu() for k, v in model.state_dict().items()})
    return row


def _digest(*points: Points | None) -> str:
    """Return a digest of the indices and labels."""
    values = [values.tolist() for pair in points if pair is not None for values in pair]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def final_model_sentence(row: Round, metric: str = PRIMARY_METRIC) -> str:
    """Return a sentence about the final model of a run.

    >>> row = Round({"backbone": "torchvision/resnet50", "num_labeled": 600, "updates": 1000, "test_accuracy": 0.934})
    >>> final_model_sentence(row)
    'The final model torchvision/resnet50, trained on 600 labels in 1,000 updates: test accuracy 93.4 %.'
    """
    reached = row.get(on_test(metric))
    tested = "not tested" if reached is None else f"test {in_words(metric)} {reached * 100:.1f} %"
    labels, updates = f"{row.num_labeled:,} labels", f"{row.updates:,} updates"
    return f"The final model {row['backbone']}, trained on {labels} in {updates}: {tested}."
