"""Makes the labels of a pool what people's answers say."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dal.errors import DalError
from dal.labeling.held_out import HeldOut
from dal.labeling.people.classes import is_mask_number
from dal.labeling.people.events import LABEL, NONE, UNREADABLE, UNSURE
from dal.labeling.people.fold import Decision, Fold
from dal.labeling.pool import Pool
from dal.tasks.base import OUT_OF_CLASS


def take(
    fold: Fold,
    pool: Pool,
    held_out: HeldOut,
    round: int,
    asked: Sequence[int] = (),
    changed: Collection[int] | None = None,
) -> None:
    """Correct, forget, exclude and label points, so that the pool says what the answers say.

    New labels belong to ``round``. They follow the order of ``asked``, and others follow by their place in the journal.
    With ``changed``, all other points stay as the last call left them, and held-out points keep their labels.
    """
    points = fold.points() if changed is None else changed
    decisions = {index: fold.decision(index) for index in points if 0 <= index < pool.size}
    labels = {
        index: number for index, decision in decisions.items() if (number := _label(index, decision, pool)) is not None
    }
    if changed is None:
        held_out.set_labels(labels)
    labeled = set(pool.labeled.tolist())
    candidates = set(pool.unlabeled.tolist())
    for index, label in zip(pool.labeled.tolist(), pool.labels(pool.labeled).tolist(), strict=True):
        if changed is not None and index not in decisions:
            continue
        if index not in labels:
            pool.forget(index)
            candidates.add(index)
        elif label != labels[index]:
            pool.correct(index, labels[index])
    for index, decision in decisions.items():
        if index in held_out or (index in labeled and index in labels):
            continue
        is_out = decision.status in (UNSURE, UNREADABLE)
        if is_out and index in candidates:
            pool.exclude([index])
            pool.set_aside.add(index)
        elif not is_out and index in pool.set_aside:
            pool.include(index)
            pool.set_aside.discard(index)
            candidates.add(index)
    place = {index: line for line, index in enumerate(asked)}
    first = {index: min((one.seq for one in decisions[index].said), default=0) for index in labels}
    new = [index for index in labels if index not in labeled and index in candidates and index not in held_out]
    new.sort(key=lambda index: (place.get(index, len(asked)), first[index], index))
    pool.label(new, [labels[index] for index in new], round)


def points_between(fold: Fold, since: int) -> set[int] | None:
    """Return the points of the events after ``since``, or None if a class changed, which can affect all points."""
    points = set(fold.indices[since + 1 :])
    return None if -1 in points else points


def masks_of(fold: Fold, points: Collection[int]) -> dict[int, str | None]:
    """Return the digest of the mask of each of these points, or None for one without a mask."""
    decisions = {index: fold.decision(index) for index in points}
    return {
        index: fold.classes.mask(one.label) if one.label is not None and is_mask_number(one.label) else None
        for index, one in decisions.items()
    }


def _label(index: int, decision: Decision, pool: Pool) -> int | None:
    """Return the label of a decided point, or None.

    Raises DalError for a class in a segmentation run, and for a mask in another one.
    """
    if decision.status not in (LABEL, NONE):
        return None
    is_mask = decision.status == LABEL and is_mask_number(decision.label)
    if is_mask != pool.task.is_dense:
        expected = "a mask for" if pool.task.is_dense else "a class for"
        got = "a mask" if is_mask else f"{'a class' if decision.status == LABEL else '=none'}"
        raise DalError(f"answers: expected {expected} each point of the run, got {got} for index {index}. Correct it.")
    if is_mask:
        return 0  # the mask is in the data
    if decision.status == NONE or decision.label is None:
        return OUT_OF_CLASS
    # The model gets a class that was added meanwhile before it trains again.
    return decision.label if decision.label < pool.num_classes else OUT_OF_CLASS
