"""Pre-trained weights from a file, read as tensors only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from dal.errors import DalError


def read_state(path: Path) -> Mapping[str, Any]:
    """The state dict in a file, read with ``weights_only=True``. Raises DalError where there is none."""
    try:
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DalError(f"weights: expected a file, got {type(error).__name__}: {error}.") from error
    except (UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        # What torch.load raises for what is not a file of tensors has many types, and its advice is to allow code.
        raise DalError(
            f"weights: expected a file with a state dict and nothing but tensors in it, got {str(path)!r} "
            f"({type(error).__name__})."
        ) from error
    return state


def load_state(model: nn.Module, state: Mapping[str, Any], name: str) -> None:
    """Load, in place. Raises DalError, naming the model, where the state does not fit."""
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise DalError(f"weights: expected a state dict of {name}, got one that does not fit ({why[:200]}).") from error
