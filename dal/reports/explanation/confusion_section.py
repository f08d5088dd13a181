"""The section of the confusion matrix: any round, the difference from another round, and the images behind a cell."""

from __future__ import annotations

import numpy as np

from dal.reports.explanation.drawing import Spec
from dal.reports.explanation.elements import absent, figure_element, paragraph, prose, verdicts
from dal.reports.explanation.merge_card import CURVES, examples, merge_cards, merge_findings, pairs_figure
from dal.reports.explanation.sprite import Sprite
from dal.reports.explanation.view import Section, View
from dal.reports.offline.markup import plotly_text

KEY, TITLE = "confusion", "Which classes are confused"
DETECTORS = ("merge",)

EXAMPLES = 6
"""Most images behind a cell."""
OTHER, UNTESTED = -1, -2


def confusion_section(view: View) -> Section:
    """Return the section."""
    results = view.of(*DETECTORS)
    parts, figures, style = [verdicts(results), paragraph(view.left_out, "caption")], {}, ""
    if view.known_rounds:
        points = _wrong_points(view)
        sprite = view.test_sprite(KEY, points)
        parts.append(_controls(view))
        figures["matrix"] = _matrix(view, points, sprite)
        style = "" if sprite is None else sprite.style
        if sprite is None and view.facts.no_images:
            parts.append(paragraph(view.facts.no_images, "caption"))
        parts.append(merge_cards(view, sprite))
    else:
        sentence = "There are no test predictions, so there is no confusion matrix."
        parts.append(absent("Confusion matrix by round", sentence))
    table = view.table("merge", "pair_curves", CURVES)
    if table is not None:
        title = "How well the network tells pairs apart"
        caption = (
            "AUC of the difference of the two logits on the test images of both classes: 0.5 is chance, 1 is perfect. "
            "Bands are intervals, of the pairs of findings or else of the first pair. Below the dotted line, a pair "
            "can be a finding."
        )
        parts.append(figure_element("pairs", title, caption))
        figures["pairs"] = pairs_figure(view, table)
    return Section(KEY, TITLE, [part for part in parts if part], figures, style)


def _wrong_points(view: View) -> list[int]:
    """Return the test points that some round got wrong: those of the last round first, then the most often wrong.

    The images of the merge cards come before all of them.
    """
    history = view.history
    cards = [
        at
        for one, other in (finding.classes for finding in merge_findings(view))
        for at in (*examples(view, one, other), *examples(view, other, one))
    ]
    shown = np.isin(history.test_label, view.classes)
    wrong = history.tested & ~history.right & shown
    often = wrong.sum(axis=0)
    last = wrong[history.recorded[-1]] if len(history.recorded) else np.zeros(len(often), np.bool_)
    ranked = np.lexsort((np.arange(len(often)), -often, ~last))
    return list(dict.fromkeys([*cards, *(int(at) for at in ranked if often[at])]))


def _controls(view: View) -> str:
    """Return the matrix with its slider and lists."""
    rounds = view.known_rounds
    options = "".join(f'<option value="{i}">round {at}</option>' for i, at in enumerate(rounds))
    names = "".join(f'<option value="{i}">{view.name(number)}</option>' for i, number in enumerate(view.classes))
    caption = (
        "Each row is a class, and its cells are shares of its test images. In a difference, blue is a larger share, "
        "orange is a smaller one, and cells whose 95 % interval of the change contains 0 are pale (Agresti and Min, on "
        "the images that both rounds tested). Many cells are looked at, so a few changes are chance. Choose a cell to "
        "see the errors in it."
    )
    if view.matrices:
        caption += (
            " Of rounds without records only the counts are known: their changes have the wider intervals of two "
            "samples (Agresti and Caffo), and there are no images."
        )
    last = len(rounds) - 1
    return (
        "<figure><h3>Confusion matrix by round</h3>"
        '<div class="controls"><label for="matrix-round">Round</label>'
        f'<input type="range" id="matrix-round" min="0" max="{last}" value="{last}">'
        '<output for="matrix-round" id="matrix-said"></output>'
        f'<label for="matrix-other">Difference from</label><select id="matrix-other"><option value="">none</option>'
        f"{options}</select></div>"
        '<div class="figure" id="matrix"></div>'
        f'<div class="controls"><label for="matrix-true">Images of</label><select id="matrix-true">{names}</select>'
        '<label for="matrix-predicted">that the model calls</label>'
        f'<select id="matrix-predicted">{names}</select></div>'
        '<div id="matrix-images" class="strip" aria-live="polite"></div>'
        f'<p class="caption">{prose(caption)}</p></figure>'
    )


def _matrix(view: View, ranked: list[int], sprite: Sprite | None) -> Spec:
    """Return the predictions of all rounds, which the page's script counts and draws.

    A prediction is a row of the matrix, OTHER for a class that is not shown, or UNTESTED. Rounds after the first have
    only the points whose prediction changed, since these are few. Rounds without records have the counts of the
    journal.
    """
    history = view.history
    place = np.full(history.num_classes, OTHER, np.int64)
    place[view.classes] = np.arange(len(view.classes))
    shown = np.flatnonzero(history.tested.any(axis=0) & (place[history.test_label] >= 0))
    first = dict.fromkeys(ranked)
    points = np.array([*ranked, *(at for at in shown.tolist() if at not in first)], dtype=np.int64)
    rounds: list[Spec] = []
    before = np.full(len(points), UNTESTED, np.int64)
    for at in view.known_rounds:
        labels = int(view.facts.labels[at]) if at < len(view.facts.labels) else None
        if at in view.matrices:
            matrix = view.matrices[at][view.classes]
            counts, totals = matrix[:, view.classes].tolist(), matrix.sum(axis=1).tolist()
            rounds.append({"round": at, "labels": labels, "counts": counts, "totals": totals})
            continue
        predicted = history.test_predicted[at, points]
        now = np.where(history.tested[at, points], place[np.maximum(predicted, 0)], UNTESTED)
        changed = np.flatnonzero(now != before)
        rounds.append({"round": at, "labels": labels, "at": changed.tolist(), "to": now[changed].tolist()})
        before = now
    ids = [plotly_text(view.test_id(at)) for at in ranked]
    offsets = [] if sprite is None else [sprite.offset(int(history.test_index[at])) for at in ranked]
    return {
        "matrix": rounds,
        "classes": [view.name(number) for number in view.classes],
        "short": [view.short(number) for number in view.classes],
        "label": place[history.test_label[points]].tolist(),
        "ids": ids,
        "tiles": {at: offset for at, offset in enumerate(offsets) if offset is not None},
        "most": EXAMPLES,
        "description": f"Confusion matrix of {len(view.classes)} classes",
    }
