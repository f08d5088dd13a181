"""The arrays of a round's records for diagnosis, from logits and outputs of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dal.analysis.statistics.representations import cka_flops, effective_rank, rank_flops, unbiased_cka
from dal.runs.dynamics import MOST_CLASSES, TOP
from dal.runs.dynamics import Arrays as Read
from dal.scoring.layer_outputs import weight_of
from dal.scoring.observer import RecordedRows, WithinRound

Arrays = dict[str, NDArray[Any]]
Ints = NDArray[np.int64]

_LARGEST = float(np.finfo(np.float16).max)


def half(values: Tensor) -> NDArray[np.float16]:
    """Return values as float16, with those out of its range at its ends.

    >>> half(torch.tensor([1e9, -0.5]))
    array([ 6.55e+04, -5.00e-01], dtype=float16)
    """
    return values.clamp(-_LARGEST, _LARGEST).half().numpy()


def test_arrays(of: int, indices: Tensor, labels: Tensor, logits: Tensor) -> Arrays:
    """Return the records of the (T, C) logits of a test set."""
    log_probs = logits.double().log_softmax(dim=1)
    arrays: Arrays = {
        "test_of": np.array(of, dtype=np.uint8),
        "test_index": indices.int().numpy(),
        "test_label": labels.short().numpy(),
        "test_predicted": logits.argmax(dim=1).short().numpy(),
    }
    if logits.shape[1] <= MOST_CLASSES:
        return arrays | {"test_log_prob": half(log_probs)}
    top = log_probs.topk(TOP, dim=1)
    own = log_probs.gather(1, labels[:, None])[:, 0]
    return arrays | {
        "test_top": top.indices.short().numpy(),
        "test_top_log_prob": half(top.values),
        "test_own_log_prob": half(own),
    }


def labeled_arrays(points: tuple[Tensor, Tensor, Tensor], logits: Tensor, before: Mapping[int, float]) -> Arrays:
    """Return the records of labeled points: their indices, labels and rounds, and their (L, C) logits.

    ``before`` has log-probabilities of new points by index.
    """
    indices, labels, rounds = points
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return {
        "labeled_index": indices.int().numpy(),
        "labeled_label": labels.short().numpy(),
        "labeled_round": rounds.short().numpy(),
        "labeled_predicted": logits.argmax(dim=1).short().numpy(),
        "labeled_log_prob": half(log_probs_of(logits, labels)),
        "labeled_margin": half(own - others),
        "labeled_before": half(torch.tensor([before.get(index, np.nan) for index in indices.tolist()])),
    }


def log_probs_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the (B,) float64 log-probabilities of the labels."""
    return logits.double().log_softmax(dim=1).gather(1, labels[:, None])[:, 0]


def pool_seen(counts: Tensor, probabilities: Tensor, size: int) -> dict[str, Any]:
    """Return what state.json keeps of a pool until its round ends."""
    return {"counts": counts.tolist(), "probabilities": probabilities.tolist(), "size": size}


def pool_arrays(seen: Mapping[str, Any]) -> Arrays:
    """Return the records of what pool_seen() keeps."""
    return {
        "pool_counts": np.array(seen["counts"], dtype=np.int64),
        "pool_probabilities": np.array(seen["probabilities"], dtype=np.float64),
        "pool_size": np.array(seen["size"], dtype=np.int64),
    }


def check_arrays(within: WithinRound, of_test: bool) -> Arrays:
    """Return the records of checks within a round."""
    arrays: Arrays = {
        "check_updates": np.array(within.updates, dtype=np.int32),
        "check_held_out_of": np.array(of_test, dtype=np.uint8),
    }
    for name, points in (("held_out", within.held_out), ("labeled", within.labeled)):
        arrays[f"check_{name}_loss"] = half(torch.stack(points.losses))
        arrays[f"check_{name}_right"] = torch.stack(points.right).numpy()
    return arrays


@dataclass(frozen=True, eq=False)
class Outputs:
    """Outputs of layers for some points of the test set or the stop set."""

    kind: str
    """``test`` or ``stop``, and the data set of the points."""
    points: Ints
    """(u,) indices of the points."""
    of_layer: Mapping[str, NDArray[np.float16]]
    """(u, width) outputs by name, as the file has them."""
    widths: Mapping[str, int]

    @classmethod
    def of_pass(cls, kind: str, points: Ints, rows: RecordedRows) -> Outputs:
        """Return the outputs that a pass has recorded. ``points`` are the indices of all its rows."""
        names = rows.layers.names or []
        of_layer = {name: half(rows.layers.outputs(name)) for name in names}
        return cls(kind, points[rows.of_layers.numpy()], of_layer, rows.layers.widths)

    @classmethod
    def of_files(cls, dynamics: Read, features: Read) -> Outputs | None:
        """Return the outputs of a round before, or None if it has none."""
        for kind, place in (("test", "layer_position"), ("stop", "stop_position")):
            if f"layer0_{kind}" in features and f"{kind}_index" in dynamics:
                names = features["layer_names"].tolist()
                of_layer: Any = {name: features[f"layer{i}_{kind}"] for i, name in enumerate(names)}
                points: Any = dynamics[f"{kind}_index"][features[place]]
                return cls(_kind(kind, dynamics), points.astype(np.int64), of_layer, {})
        return None


def _kind(kind: str, dynamics: Read) -> str:
    return f"{kind}{int(dynamics['test_of'])}" if kind == "test" else kind


Pair = tuple[Outputs, Outputs | None]
"""The outputs of a round, and those of the round before if it has some."""


def layer_flops(now: Outputs, before: Outputs | None, count: int) -> int:
    """Return the FLOPs of layer_arrays() on ``count`` points."""
    flops = 0
    for name, values in now.of_layer.items():
        rows = min(count, len(values))
        flops += rank_flops(rows, values.shape[1])
        if _are_alike(now, before, name) and before is not None:
            flops += cka_flops(rows, values.shape[1], before.of_layer[name].shape[1])
    return flops


def layer_arrays(module: nn.Module, pair: Pair, count: int, weights: Mapping[str, Tensor] | None) -> Arrays:
    """Return the statistics of layers, those of outputs on ``count`` points.

    The change is NaN without ``weights``, the state dict of the round before. The comparison with its outputs is NaN if
    it has none for the same data set.
    """
    now, before = pair
    names = list(now.of_layer)
    norms = [_norm_and_change(module.get_submodule(name), name, weights) for name in names]
    ranks = [
        effective_rank(values[_spread(len(values), count)]) if count else np.nan for values in now.of_layer.values()
    ]
    return {
        "layer_names": np.array(names, dtype=np.str_),
        "layer_norm": np.array([norm for norm, _ in norms], dtype=np.float32),
        "layer_change": np.array([change for _, change in norms], dtype=np.float32),
        "layer_cka": np.array([_cka(now, before, name, count) for name in names], dtype=np.float32),
        "layer_rank": np.array(ranks, dtype=np.float32),
        "layer_width": np.array([now.widths[name] for name in names], dtype=np.int32),
    }


def _are_alike(now: Outputs, before: Outputs | None, name: str) -> bool:
    return before is not None and before.kind == now.kind and name in before.of_layer


def _cka(now: Outputs, before: Outputs | None, name: str, count: int) -> float:
    if before is None or not _are_alike(now, before, name):
        return np.nan
    _, mine, theirs = np.intersect1d(now.points, before.points, return_indices=True)
    rows = _spread(len(mine), count)
    return unbiased_cka(now.of_layer[name][mine[rows]], before.of_layer[name][theirs[rows]])


def _spread(num_points: int, count: int) -> Ints:
    """Return the places of ``count`` points at equal distances."""
    count = min(num_points, count)
    return np.arange(count) * num_points // max(1, count)


def _norm_and_change(layer: nn.Module, name: str, weights: Mapping[str, Tensor] | None) -> tuple[float, float]:
    weight = weight_of(layer)
    assert weight is not None
    now = weight.detach().cpu().double()
    then = None if weights is None else weights.get(f"{name}.weight")
    if then is None or then.shape != now.shape or not bool(then.any()):
        return float(now.norm()), np.nan
    return float(now.norm()), float((now - then.double()).norm() / then.double().norm())
