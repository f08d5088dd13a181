"""The changes of `dal explain --refit`, as text, as a model and as labels that are left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from dal.data.images import ImageData
from dal.errors import DalError, bad_value, reason, unknown_choice
from dal.models import ModelConfig
from dal.models.backbones.small_cnn import OPTIONS
from dal.runs.refits import CLASS, DEPTH, ROUND, WIDTH, Arm, Basis

_FORMS = "width=NUMBER, depth=N, without=ROUND or without=CLASS"
_CLASS = "class:"
_MOST_DEPTH = 1000


@dataclass(frozen=True)
class Change:
    """A change, as the command line names it."""

    kind: str
    value: float
    name: str = ""
    """The name of the class to leave out."""

    def of(self, basis: Basis) -> Arm:
        """Return the arm without trainings. Raises DalError for an unknown class."""
        if self.kind != CLASS:
            return Arm(self.kind, self.value, basis)
        if self.name not in basis.classes:
            raise unknown_choice("--refit without", [*basis.classes, "the number of a round"], self.name)
        return Arm(CLASS, list(basis.classes).index(self.name), basis)


def parse_change(text: str) -> Change:
    """Return the change that a text names.

    ``without=3`` leaves out round 3, and ``without=class:3`` the class 3.

    >>> parse_change("width=2"), parse_change("without=cat").name
    (Change(kind='width', value=2.0, name=''), 'cat')
    """
    key, equals, value = text.partition("=")
    if not equals or key not in ("width", "depth", "without") or not value:
        raise bad_value("--refit", _FORMS, text)
    if key == "without":
        if value.startswith(_CLASS):
            return Change(CLASS, 0, value.removeprefix(_CLASS))
        is_round = value.isascii() and value.isdigit() and len(value) < 10
        return Change(ROUND, int(value)) if is_round else Change(CLASS, 0, value)
    if key == "depth":
        if not (value.isascii() and value.isdigit() and 1 <= int(value[:5]) <= _MOST_DEPTH):
            raise bad_value("--refit depth", f"a whole number from 1 to {_MOST_DEPTH:,}", value)
        return Change(DEPTH, int(value))
    try:
        factor = float(value)
    except ValueError:
        factor = math.nan
    if not (0 < factor <= OPTIONS["width"].high) or factor == 1:
        raise bad_value("--refit width", f"a factor above 0, up to {OPTIONS['width'].high:g} and not 1", value)
    return Change(WIDTH, factor)


def changed_model(config: ModelConfig, arm: Arm, data: ImageData) -> ModelConfig:
    """Return the configuration of the model of an arm.

    Raises DalError if the backbone has no such option, or has this width or depth already.
    """
    if arm.kind not in (WIDTH, DEPTH):
        return config
    options: dict[str, Any] = dict(config.backbone_options)
    if config.backbone == "small_cnn":
        value = arm.value * options.get("width", 1.0) if arm.kind == WIDTH else int(arm.value)
        OPTIONS[arm.kind].check(f"--refit {arm.kind}", value)
    elif arm.kind == DEPTH and config.backbone.startswith("timm/"):
        value = int(arm.value)
    else:
        possible = "depth=N with timm models that take it, and width and depth with small_cnn"
        raise DalError(
            f"--refit {arm.kind}: expected {possible}, got backbone {config.backbone!r}, which has no such option."
        )
    changed = replace(config, backbone_options=options | {arm.kind: value})
    try:
        sizes = [_sizes(one.build(data.image_shape, data.num_classes, data.task)) for one in (config, changed)]
    except DalError as error:
        raise DalError(
            f"--refit {arm.kind}: expected a value that {config.backbone} takes, got {value:g} ({reason(error)})."
        ) from error
    if sizes[0] == sizes[1]:
        raise DalError(f"--refit {arm.kind}: expected another network than that of the run, got the same ({value:g}).")
    return changed


def _sizes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in model.parameters()]
