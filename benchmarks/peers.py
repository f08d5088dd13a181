"""Published libraries on the same work, used as documented.

A library that is not installed is skipped.

baal (github.com/baal-org/baal): ModelWrapper.predict_on_dataset with a network patched by MCDropoutModule. It runs with
the default arguments (inputs replicated in memory) and with MCCachingModule, which needs replicate_in_memory=False. Its
dropout draws noise per point, and dal draws K networks for the whole pool; the amount of work is the same. BatchBALD
uses precomputed probabilities.
scikit-activeml (github.com/scikit-activeml/scikit-activeml): CoreSet and Badge. Badge reads probabilities and
embeddings from a classifier; here, the classifier returns precomputed ones, so only the selection is timed.
small-text (github.com/webis-de/small-text): greedy_coreset, which also accepts embeddings of images.
The authors' code of ProbCover (github.com/avihu111/TypiClust) has no package. Clone it and set DAL_PROBCOVER to its
file deep-al/pycls/al/prob_cover.py. It runs without a GPU here.

This module has no command: see speed.py, which describes the installation.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
import os
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def baal_bald(model: nn.Module, images: Tensor, num_draws: int, batch_size: int, caching: bool) -> Callable[[], Any]:
    """Return a run that computes (N,) BALD scores with baal."""
    import structlog
    from baal.active.heuristics import BALD
    from baal.bayesian.caching_utils import LRUCacheModule, MCCachingModule
    from baal.bayesian.dropout import MCDropoutModule
    from baal.modelwrapper import ModelWrapper, TrainingArgs

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    # Patching modifies its input module.
    patched: nn.Module = MCDropoutModule(copy.deepcopy(model))
    if caching:
        patched = MCCachingModule(patched)
    # The images are in memory, so loader workers would only add their start time.
    arguments = TrainingArgs(batch_size=batch_size, workers=0, use_cuda=False, replicate_in_memory=not caching)
    wrapper = ModelWrapper(patched, arguments)
    dataset = TensorDataset(images, torch.zeros(len(images), dtype=torch.int64))
    caches = [m for m in patched.modules() if isinstance(m, LRUCacheModule)]

    def run() -> Tensor:
        # If all images form one batch, the cache would hold the answers of the previous repeat.
        for cached in caches:
            cached._memory_input = None
        predictions = wrapper.predict_on_dataset(dataset, iterations=num_draws, verbose=False)
        return torch.from_numpy(BALD().get_uncertainties(predictions))

    return run


def baal_batchbald(log_probs: Tensor, query_size: int) -> Callable[[], Any]:
    """Return a run of baal's BatchBALD with 10,000 joint samples.

    It returns (Q,) positions in the pool.
    """
    from baal.active.heuristics import BatchBALD

    predictions = log_probs.exp().transpose(1, 2).numpy()
    heuristic = BatchBALD(num_samples=query_size, num_draw=10_000 // log_probs.shape[1])  # per network

    def run() -> Tensor:
        return torch.as_tensor(heuristic(predictions)[:query_size].copy())

    return run


def skactiveml_coreset(features: Tensor, labeled: Tensor, query_size: int) -> Callable[[], Any]:
    """Return a run of scikit-activeml's CoreSet to (Q,) pool positions."""
    from skactiveml.pool import CoreSet

    x = torch.cat([features, labeled]).numpy()
    y = np.full(len(x), np.nan)
    y[len(features) :] = 0

    def run() -> Tensor:
        return torch.from_numpy(CoreSet(random_state=0).query(x, y, batch_size=query_size))

    return run


def skactiveml_badge(probs: Tensor, features: Tensor, query_size: int) -> Callable[[], Any]:
    """Return a run of scikit-activeml's Badge to (Q,) pool positions.

    Probabilities and embeddings are precomputed.
    """
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Badge

    class Ready(SkactivemlClassifier):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> Any:
            return probs.numpy(), features.numpy()

    x, y = features.numpy(), np.full(len(features), np.nan)
    classifier = Ready(classes=list(range(probs.shape[1])))

    def run() -> Tensor:
        query = Badge(random_state=0)
        return torch.as_tensor(query.query(x, y, clf=classifier, fit_clf=False, batch_size=query_size))

    return run


def small_text_coreset(features: Tensor, labeled: Tensor, query_size: int) -> Callable[[], Any]:
    """Return a run of small-text's greedy_coreset to (Q,) pool positions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from small_text.query_strategies.coresets import greedy_coreset

    x = torch.cat([features, labeled]).numpy()
    pool, known = np.arange(len(features)), np.arange(len(features), len(x))

    def run() -> Tensor:
        # The default of 100 rows per block is even slower.
        picks = greedy_coreset(x, pool, known, query_size, distance_metric="euclidean", batch_size=4096)
        return torch.from_numpy(picks)

    return run


def authors_probcover(points: Tensor, query_size: int, delta: float) -> Callable[[], Any] | None:
    """Return a run of the ProbCover authors' code to (Q,) pool positions, or None without DAL_PROBCOVER."""
    path = os.environ.get("DAL_PROBCOVER")
    if not path:
        return None
    utils = types.SimpleNamespace(load_features=lambda name, seed: points.numpy())
    module = types.ModuleType("prob_cover")
    code = Path(path).read_text().replace(".cuda()", "").replace("import pycls.datasets.utils as ds_utils", "")
    module.__dict__["ds_utils"] = utils
    exec(compile(code, path, "exec"), module.__dict__)
    config = {"DATASET": {"NAME": ""}, "RNG_SEED": 0}

    def run() -> Tensor:
        with contextlib.redirect_stdout(io.StringIO()):
            none, pool = np.array([], dtype=int), np.arange(len(points))
            return torch.from_numpy(module.ProbCover(config, none, pool, query_size, delta).select_samples()[0])

    return run
