"""The digest of a model's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Return a digest of the names, types, shapes and bytes of tensors, in the order of the names.

    >>> zeros = {"weight": torch.zeros(2, 1), "bias": torch.zeros(2)}
    >>> weights_sha256(zeros) == weights_sha256(dict(reversed(zeros.items())))
    True
    >>> weights_sha256(zeros) == weights_sha256({**zeros, "bias": torch.zeros(1, 2)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().to("cpu").contiguous()
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1e".encode(errors="surrogatepass"))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
