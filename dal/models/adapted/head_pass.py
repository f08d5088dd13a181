"""Runs a user's module, and reads the input and output of its head."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dal.errors import DalError, bad_value
from dal.models.adapt import AdaptedModel
from dal.models.adapted.head import two_classes


class _AtHead(BaseException):
    """The head has run, so that the rest of forward() is not needed."""


def run_to_head(
    adapted: AdaptedModel, x: Tensor, *, eagerly: bool = False, stops: bool = False
) -> tuple[Any, list[tuple[Any, Any]]]:
    """Return the module's output, and inputs and outputs of the head.

    With ``stops``, the pass ends at the head, and the output is None. With ``eagerly``, compiled code runs uncompiled.
    """
    seen: list[tuple[Any, Any]] = []

    def see(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
        seen.append((args[0] if args else next(iter(named.values()), None), out))
        if stops:
            raise _AtHead

    handle = adapted.head_layer.register_forward_hook(see, with_kwargs=True)
    try:
        return run_whole(adapted, x, eagerly=eagerly), seen
    except _AtHead:
        return None, seen
    finally:
        handle.remove()


def run_whole(adapted: AdaptedModel, x: Tensor, *, eagerly: bool = False) -> Any:
    """Return the module's output."""
    try:
        with torch.compiler.set_stance("force_eager") if eagerly and "torch._dynamo" in sys.modules else nullcontext():
            return adapted.run(x)
    except TypeError as error:
        raise DalError(f"model: expected forward(x) to take only a batch of images, got: {error}.") from error
    except NotImplementedError as error:
        raise DalError(
            f"model: expected {type(adapted.module).__name__} to define forward(x), got none. Pass the name of the "
            "method that takes images to adapt(), as forward=."
        ) from error


def predicted(result: Any, count: int) -> tuple[Tensor, Tensor]:
    """Return (B, D) features and (B, C) logits of a predict function.

    Raises DalError for an invalid result.
    """
    is_pair = isinstance(result, (tuple, list)) and len(result) == 2
    if not is_pair or not all(isinstance(part, Tensor) and part.ndim == 2 and len(part) == count for part in result):
        got: object = type(result).__name__
        if is_pair:
            got = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in result]
        raise bad_value("predict", f"(logits, features) of shapes ({count}, C) and ({count}, D)", got)
    logits, features = result
    return features, two_classes(logits)


def has_compiled_parts(module: nn.Module) -> bool:
    """Return whether torch.compile has compiled the module or a part of it."""
    if "torch._dynamo" not in sys.modules:
        return False
    compiled = torch._dynamo.OptimizedModule
    return any(isinstance(part, compiled) or part._compiled_call_impl is not None for part in module.modules())
