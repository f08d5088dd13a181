"""Tries a model on a few images when a learner is made, so that it is refused before a label is bought."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from dal.acquisition.base import AcquisitionFunction
from dal.data.images import ImageData
from dal.errors import DalError, NonFiniteError, reason
from dal.models.adapt import AdaptedModel, check_members, check_outputs
from dal.models.adapted.after_head import learns_after_head
from dal.models.adapted.head import check_num_outputs, has_other_class, has_other_order
from dal.models.adapted.map_head import check_agreement, check_are_logits
from dal.models.adapted.scoring_model import NoHeadError, ScoringModel, scoring_view
from dal.models.adapted.step_trial import check_step
from dal.models.classifier import Classifier
from dal.models.dropout.draws import SameDrawsError, unseen_randomness
from dal.models.dropout.mc_dropout import check_dropout
from dal.models.ensemble import DeepEnsemble
from dal.models.own import is_own
from dal.scoring.byte_trial import warn_of_bytes
from dal.scoring.dense.sites import SiteRows, SiteView
from dal.scoring.half_size import check_half_size
from dal.tasks import IGNORED

TRIED_IMAGES = 3
TRIED_DRAWS = 4
_TRIED_MASKS = 8


def try_model(
    model: AdaptedModel,
    data: ImageData,
    acquisition: AcquisitionFunction,
    hooks: Callable[[], Iterator[None]],
    half_size_until: int = 0,
) -> None:
    """Raise DalError, saying what to change, unless dal can train and score the model on ``data``.

    A module that is not dal's own takes a few images through training_step's batch, its hooks and its head. For a
    function that needs draws, the draws are tried. Randomness of training that they leave out is a warning, and so is a
    module that expects uint8 images.

    A module may create what forward() needs in hooks such as setup(). If something is missing, ``hooks`` calls them one
    by one, until the trial works. If ``half_size_until`` is not 0, images of half the size are tried too.
    """
    error = _lack(model, data, acquisition)
    for _ in hooks() if error is not None else ():
        error = _lack(model, data, acquisition)
        if error is None:
            break
    if error is not None:
        raise error
    warn_of_bytes(model, data, _tried(data))
    if half_size_until:
        check_half_size(model, data, half_size_until)
        _try_model(model, data.at_half_size, acquisition)


def _lack(model: AdaptedModel, data: ImageData, acquisition: AcquisitionFunction) -> Exception | None:
    """Try the model, and return the error of one that lacks an attribute or a layer. Other errors are raised."""
    try:
        _try_model(model, data, acquisition)
    except (AttributeError, TypeError) as error:
        return error
    except DalError as error:
        if isinstance(error.__cause__, AttributeError | TypeError):
            return error
        raise
    return None


def _try_model(model: AdaptedModel, data: ImageData, acquisition: AcquisitionFunction) -> None:
    check_outputs(model, data.num_classes, data.task)
    ours = is_own(model.module)
    draws = getattr(acquisition, "num_draws", None) if acquisition.needs_dropout else None
    check_members(model.module, draws)
    needs_draws = acquisition.needs_dropout and not isinstance(model.module, DeepEnsemble)
    if needs_draws and isinstance(model.module, Classifier) and ours and model.module.freeze_backbone:
        # Its one dropout stands before the head, and its backbone is costly.
        check_dropout(model.module)
        return
    if ours and not needs_draws:
        return
    few = data.plain(_tried(data)).to(next(iter(model.module.parameters())).device)
    if not ours:
        with _takes(few):
            # As many images as classes would hide labels of another shape, because tensors broadcast.
            images = few[:-1] if len(few) == data.num_classes else few
            check_step(model, images, data.label_like, _has_ignored(data), data.num_classes)
    with scoring_view(model, is_dense=data.task.is_dense) as view:
        with _takes(few):
            x = view.prepare(few, data.label_like)
            logits = None if ours else view.logits(x)
        if logits is not None:
            check_num_outputs(logits, data.num_classes, model.head or "predict")
            _check_order(view, x, logits)
            (_check_sites if data.task.is_dense else _check_head)(view, acquisition, x)
        if needs_draws:
            try:
                tried = view.draws(x, TRIED_DRAWS)
            except SameDrawsError:
                if _has_vanished(view, x):
                    return
                raise
            said = unseen_randomness(view.plain_logits, tried, view.modes, x)
            if said is not None:
                warnings.warn(said, stacklevel=6)


def _tried(data: ImageData) -> list[int]:
    return torch.arange(TRIED_IMAGES).clamp(max=len(data) - 1).tolist()


def _has_ignored(data: ImageData) -> bool:
    """Return whether training sees ignored pixels: outside of bought regions, or in the first masks."""
    if data.masks is None:
        return False
    first = data.task.known(data.labels).nonzero().flatten()[:_TRIED_MASKS].tolist()
    return data.units_per_image > 1 or bool((data.masks.batch(first) == IGNORED).any())


def _has_vanished(view: ScoringModel, x: torch.Tensor) -> bool:
    """Return whether the features are so small that logits do not show them.

    They are in some deep networks with random weights, until these are trained. The first query checks the draws again.
    """
    if not view.adapted.head or not view.adapted.has_features:
        return False
    features = view.features(x)
    logits, of_zeros = view.head(features), view.head(torch.zeros_like(features))
    difference = float((logits - of_zeros).abs().max())
    return bool(features.any()) and difference <= 1e-5 * float(of_zeros.abs().max())


@contextmanager
def _takes(x: torch.Tensor) -> Iterator[None]:
    """Raise DalError with the shape of the images if the network cannot take them."""
    try:
        yield
    except DalError:
        raise
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        shape = tuple(x.shape[1:])
        raise DalError(
            f"model: expected a network that takes images of shape {shape}, (channels, height, width), got the error: "
            f"{reason(error)}."
        ) from error


def _check_order(view: ScoringModel, x: torch.Tensor, logits: torch.Tensor) -> None:
    """Raise DalError if forward() chooses other classes than the head, and warn if only their order differs."""
    if not view.adapted.has_features:
        check_are_logits(logits)
    compared = view.compared(x)
    if compared is None:
        return
    if view.is_dense:
        check_agreement(view.adapted.head, logits, compared[0])
        return
    head, remedy = view.adapted.head, "Name the layer that returns logits as head=, or pass predict=."
    if has_other_class(*compared):
        raise DalError(
            f"model: expected forward() to choose the classes that the output of the layer {head!r} chooses, got other "
            f"classes, as after a change of sign. {remedy}"
        )
    if learns_after_head(view.adapted, x, compared[1]):
        raise DalError(
            f"model: expected forward() to choose the classes that the output of the layer {head!r} chooses, got other "
            "classes after a change of all weights, as with a bias, a scale or a branch that is learned after that "
            "layer. Pass predict=, a function (module, x) that returns (logits, features)."
        )
    if has_other_order(*compared):
        warnings.warn(
            f"model: the output of forward() orders the classes unlike the layer {head!r}, whose output dal scores "
            f"and tests. {remedy}",
            stacklevel=7,
        )


def _check_sites(view: ScoringModel, acquisition: AcquisitionFunction, x: torch.Tensor) -> None:
    """Raise DalError if the function cannot read the sites of images."""
    if acquisition.needs_pass and not acquisition.needs_dropout:
        with suppress(NonFiniteError):  # the first query has trained weights
            SiteRows(acquisition)(SiteView(view, x))


def _check_head(view: ScoringModel, acquisition: AcquisitionFunction, x: torch.Tensor) -> None:
    """Raise NoHeadError if the function runs the head on features of its making and there is no head."""
    if (view.adapted.head and view.adapted.has_features) or acquisition.needs_dropout:
        return
    try:
        if acquisition.learns_from_labels:
            labels = torch.zeros(len(x), dtype=torch.int64)
            acquisition = acquisition.with_labeled(acquisition.summarize(view, x), labels)
        acquisition.summarize(view, x)
    except NoHeadError:
        raise
    except (DalError, RuntimeError):
        # The first query has trained weights and labels, and says what is wrong with them.
        return
