"""What another training on the labels of a run shows: another width or depth, or without some of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dal.analysis.diagnosis.words import counted, listed, p_value, percent
from dal.analysis.statistics.crossed import Crossed, Spread, crossed
from dal.analysis.statistics.paired_tests import holm
from dal.runs.refits import CLASS, DEPTH, ROUND, WIDTH, Arm

ALPHA = 0.05
LEAST_SEEDS = 2


@dataclass(frozen=True)
class ClassChange:
    """The change of the recall of a class."""

    number: int
    recall: Crossed
    p: float
    """With Holm's correction over the classes."""


@dataclass(frozen=True)
class RefitEffect:
    """A change compared with no change, over trainings with the same seeds."""

    arm: Arm
    seeds: int
    test: Crossed
    labeled: Crossed
    """On the labels that both train on."""
    labels_out: int
    """Number of labels that the change leaves out."""
    classes: Sequence[ClassChange]
    """Those that the comparison covers: all with test points but the one that is left out."""
    p: float
    """The p-value of the test accuracy, with Holm's correction over the changes of the run."""
    changes: int = 1
    """Number of changes of the run."""

    @property
    def differs(self) -> bool:
        return self.p < ALPHA

    @property
    def changed_classes(self) -> list[ClassChange]:
        """The classes whose recall differs, the surest first."""
        return sorted((one for one in self.classes if one.p < ALPHA), key=lambda one: one.p)


def left_out(arm: Arm) -> NDArray[np.bool_]:
    """Return (L,) which labels an arm does not train on."""
    of = {ROUND: arm.basis.bought, CLASS: arm.basis.label}.get(arm.kind)
    return np.zeros(len(arm.basis.label), dtype=np.bool_) if of is None else np.asarray(of) == arm.value


def refit_effect(base: Arm, arm: Arm) -> RefitEffect | None:
    """Compare an arm with that without a change. None with fewer than LEAST_SEEDS common seeds.

    Without the labels of a class, the test covers the points of the other classes.
    """
    seeds = sorted(base.trainings.keys() & arm.trainings.keys())
    if len(seeds) < LEAST_SEEDS or base.basis.key != arm.basis.key:
        return None
    truth, label, out = np.asarray(arm.basis.test_label), np.asarray(arm.basis.label), left_out(arm)
    kept = truth != arm.value if arm.kind == CLASS else np.ones(len(truth), dtype=np.bool_)
    if not kept.any() or out.all():
        return None
    both = (base, arm)
    test = [np.stack([np.asarray(one.trainings[seed].test) == truth for seed in seeds]) for one in both]
    labeled = [np.stack([np.asarray(one.trainings[seed].labeled) == label for seed in seeds])[:, ~out] for one in both]
    numbers = np.unique(truth[kept])
    by_class = [[right[:, truth == number] for right in test] for number in numbers]
    # A few trainings can agree on a class by chance.
    least = Spread.mean([Spread.of(before, after) for before, after in by_class])
    recalls = [crossed(before, after, least) for before, after in by_class]
    adjusted = holm([recall.p for recall in recalls])
    whole = crossed(test[0][:, kept], test[1][:, kept])
    return RefitEffect(
        arm=arm,
        seeds=len(seeds),
        test=whole,
        labeled=crossed(labeled[0], labeled[1]),
        labels_out=int(out.sum()),
        classes=[
            ClassChange(int(number), recall, float(p))
            for number, recall, p in zip(numbers, recalls, adjusted, strict=True)
        ],
        p=whole.p,
    )


def refit_effects(arms: Sequence[Arm]) -> list[RefitEffect]:
    """Compare each arm with the first one, which has no change, with Holm's correction over the arms."""
    found = [effect for arm in arms[1:] if (effect := refit_effect(arms[0], arm)) is not None]
    adjusted = holm([effect.test.p for effect in found])
    return [replace(effect, p=float(p), changes=len(found)) for effect, p in zip(found, adjusted, strict=True)]


def change_in_words(effect: RefitEffect) -> str:
    """Return the change as the start of a sentence."""
    arm = effect.arm
    labels = counted(effect.labels_out, "label")
    if arm.kind == WIDTH:
        return f"With {arm.value:g} times the width"
    if arm.kind == DEPTH:
        return f"With depth {arm.value:g}"
    if arm.kind == ROUND:
        return f"Without the {labels} of round {arm.value:g}"
    return f"Without the {labels} of {arm.basis.classes[int(arm.value)]}"


def verdict(effect: RefitEffect) -> str:
    """Return what the trainings show, in a few sentences."""
    test, basis = effect.test, effect.arm.basis
    where = " on the other classes" if effect.arm.kind == CLASS else ""
    tried = "" if effect.changes == 1 else f" after Holm over {effect.changes} changes"
    sure = f"95 % interval {100 * test.low:+.1f} to {100 * test.high:+.1f} points, {p_value(effect.p)}{tried}"
    counts = f"{effect.seeds} trainings each, {counted(basis.updates, 'update')}, {counted(test.points, 'test point')}"
    start = change_in_words(effect)
    if effect.differs:
        direction = "higher" if test.difference > 0 else "lower"
        said = (
            f"{start}, test accuracy{where} is {100 * abs(test.difference):.1f} points {direction}: "
            f"{percent(test.after)} in place of {percent(test.before)} ({sure}; {counts})."
        )
    else:
        said = (
            f"{start}, test accuracy{where} shows no difference, and one larger than {100 * test.most:.1f} points is "
            f"unlikely: {percent(test.after)} in place of {percent(test.before)} ({sure}; {counts})."
        )
    return " ".join(filter(None, (said, _fit(effect), _of_classes(effect), _meaning(effect))))


def _fit(effect: RefitEffect) -> str:
    if effect.arm.kind not in (WIDTH, DEPTH):
        return ""
    of = effect.labeled
    return (
        f"Of the {counted(of.points, 'label')}, the changed network predicts {percent(of.after)}, and the unchanged "
        f"one {percent(of.before)}."
    )


def _of_classes(effect: RefitEffect) -> str:
    changed = effect.changed_classes
    of = counted(len(effect.classes), "class", "classes")
    if not changed:
        return f"No recall of a class differs (Holm over {of})."
    names = [
        f"{effect.arm.basis.classes[one.number]} ({100 * one.recall.difference:+.1f} points, {p_value(one.p)})"
        for one in changed
    ]
    return f"Recall changes for {listed(names)}, with Holm's correction over {of}."


def _meaning(effect: RefitEffect) -> str:
    kind, value, better = effect.arm.kind, effect.arm.value, effect.test.difference > 0
    if kind in (ROUND, CLASS):
        if not effect.differs:
            return "No harm and no help by these labels is seen."
        return "These labels do harm." if better else "These labels help."
    if kind == WIDTH and value > 1:
        fits_better = effect.labeled.p < ALPHA and effect.labeled.difference > 0
        if effect.differs and better:
            if fits_better:
                return "The network of the run is too narrow for these labels and updates."
            return "A wider network is better with these labels and updates."
        return "More width does not help with these labels and updates."
    if effect.differs:
        return f"The changed network is {'better' if better else 'worse'} with these labels and updates."
    return "With these labels and updates, the two networks are not told apart."
