"""The last section: how sure the findings are, and how they were computed."""

from __future__ import annotations

from dal.analysis.diagnosis.history import History
from dal.reports.explanation.elements import paragraph, prose, table_element
from dal.reports.explanation.view import Section, View
from dal.reports.offline.markup import escape

KEY, TITLE = "method", "How sure, and how it was computed"


def method_section(view: View) -> Section:
    """Return the section."""
    history = view.history
    parts = [paragraph(sentence) for sentence in caveats(view)]
    rows = [[escape(one.title), _outcome(len(one.findings), one.unknown), prose(one.method)] for one in view.detected]
    if rows:
        parts += ["<h3>Tests</h3>", table_element(["Question", "Answer", "Method"], rows, 3, "text")]
    silenced = [f"{one.title}: {sentence}" for one in view.detected for sentence in one.silenced]
    parts.append("<h3>Kept back</h3>")
    if silenced:
        parts.append("<ul>" + "".join(f"<li>{prose(sentence)}</li>" for sentence in silenced) + "</ul>")
    else:
        parts.append(paragraph("No guard kept anything back."))
    missing = missing_records(history)
    parts.append("<h3>Records</h3>")
    parts.append(paragraph(missing or "All records of all rounds are there."))
    state = "finished" if view.facts.finished else "not finished"
    parts.append(paragraph(f"Run: {view.facts.name} ({state}). Computed by dal {view.facts.version}."))
    return Section(KEY, TITLE, parts)


def _outcome(findings: int, unknown: bool) -> str:
    if findings:
        return f"{findings} found"
    return "cannot be told" if unknown else "nothing found"


def caveats(view: View) -> list[str]:
    """Return what the page cannot know, as sentences."""
    history = view.history
    sentences = [
        "All of this is of one run. Training again on the same labels may give another picture.",
    ]
    if len(history.recorded):
        counts = view.test_counts[history.recorded[-1]]
        least = int(counts.min())
        sentences.append(
            f"The test set has {int(counts.sum()):,} images, at least {least:,} a class. These findings used it; a "
            "number for a paper needs another."
        )
    else:
        sentences.append("There are no test predictions, so most questions cannot be answered.")
    if view.detected:
        sentences.append(
            f"{len(view.detected)} questions were asked, each at its own level. With no problem at all, a run in "
            "several can still show one finding by chance."
        )
    return sentences


def missing_records(history: History) -> str:
    """Return a sentence about records that rounds lack, or an empty text."""
    rounds = history.num_rounds
    tested = set(history.recorded.tolist())
    kinds = {
        "test predictions": [at in tested for at in range(rounds)],
        "labeled points": [one is not None for one in history.trained],
        "the pool": [one is not None for one in history.pool][1:],
        "layers": [one is not None for one in history.layers],
        "stop set": [one is not None for one in history.stop_predicted],
        "checks during training": [one is not None for one in history.checks],
    }
    lacks = []
    for kind, there in kinds.items():
        count = len(there) - sum(there)
        if not any(there):
            lacks.append(f"{kind} (all rounds)")
        elif count:
            lacks.append(f"{kind} ({count} of {len(there)} rounds)")
    if history.features is None:
        lacks.append("features of the last round")
    return f"Missing records: {', '.join(lacks)}." if lacks else ""
