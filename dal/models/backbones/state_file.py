"""Loads pre-trained weights from files that contain only tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from dal.errors import DalError, reason


def read_state(path: Path) -> Mapping[str, Any]:
    """Read a state dict from a file with ``weights_only=True``.

    Raises DalError if the file does not contain one.
    """
    try:
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DalError(f"weights: expected a file, got {type(error).__name__}: {error}.") from error
    except (UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        # torch.load raises many types for other files, and its message recommends weights_only=False, which runs code.
        raise DalError(
            f"weights: expected a file with a state dict of tensors only, got {str(path)!r} ({type(error).__name__})."
        ) from error
    return state


def load_state(model: nn.Module, state: Mapping[str, Any], name: str) -> None:
    """Load a state dict into a model, in place.

    Raises DalError, with the name of the model, if the state dict does not fit.
    """
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DalError(f"weights: expected a state dict of {name}, got another one ({reason(error)}).") from error
