"""What `dal explain --refit` measured, for the sections of the network and of the queries."""

from __future__ import annotations

from collections.abc import Sequence

from dal.analysis.diagnosis.words import p_value
from dal.analysis.refits import RefitEffect, change_in_words, verdict
from dal.analysis.statistics.crossed import Crossed
from dal.reports.explanation.elements import paragraph, percent, table_element
from dal.reports.explanation.view import View
from dal.reports.offline.markup import escape

_HEADER = ("Change", "Accuracy of", "Unchanged", "Changed", "Points", "95 % interval", "p")
_METHOD = (
    "All networks start from new weights and train on these labels in one round, with the same seeds and updates. The "
    "interval covers both the test points and the trainings. p is the larger of the exact McNemar test on points and "
    "the t-test of the interval; p of the test accuracy has Holm's correction over the changes, p of a recall over the "
    "classes."
)


def refit_parts(view: View, *kinds: str) -> list[str]:
    """Return a sentence for each change of these kinds and a table, or nothing without such trainings."""
    effects = [effect for effect in view.facts.refits if effect.arm.kind in kinds]
    if not effects:
        return []
    rows = [row for effect in effects for row in _rows(effect)]
    parts = ["<h3>Trained again</h3>", *(paragraph(verdict(effect)) for effect in effects)]
    if (labels := len(effects[0].arm.basis.label)) < int(view.history.query_sizes.sum()):
        parts.append(paragraph(f"The run has bought labels since: these trainings had {labels:,}.", "caption"))
    return [*parts, table_element(_HEADER, rows, 2, "refits"), paragraph(_METHOD, "caption")]


def _rows(effect: RefitEffect) -> list[Sequence[str]]:
    names = effect.arm.basis.classes
    rows = [
        _row(change_in_words(effect), "test points", effect.test, effect.p),
        _row("", "its labels", effect.labeled, effect.labeled.p),
    ]
    return rows + [_row("", f"test points of {names[one.number]}", one.recall, one.p) for one in effect.changed_classes]


def _row(change: str, of: str, one: Crossed, p: float) -> Sequence[str]:
    interval = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
    numbers = (percent(one.before), percent(one.after), f"{100 * one.difference:+.1f}", interval)
    return [escape(change), escape(of), *numbers, escape(p_value(p).removeprefix("p = ").removeprefix("p "))]
