"""The last section: how sure the findings are, and how they were computed."""

from __future__ import annotations

from dal.reports.explanation.elements import paragraph, prose, table_element
from dal.reports.explanation.records import missing_records
from dal.reports.explanation.view import Section, View
from dal.reports.offline.markup import escape

KEY, TITLE = "method", "How sure, and how it was computed"


def method_section(view: View) -> Section:
    """Return the section."""
    parts = [paragraph(sentence) for sentence in caveats(view)]
    if view.history.has_records:
        parts += _tests(view)
    parts.append("<h3>Records</h3>")
    parts.append(paragraph(view.facts.notice))
    if view.history.has_records:
        parts.append(paragraph(missing_records(view.history) or "All records of all rounds are there."))
    state = "finished" if view.facts.finished else "not finished"
    parts.append(paragraph(f"Run: {view.facts.name} ({state}). Computed by dal {view.facts.version}."))
    return Section(KEY, TITLE, [part for part in parts if part])


def _tests(view: View) -> list[str]:
    """Return how each question was answered, and what guards kept back."""
    parts = []
    rows = [[escape(one.title), _outcome(len(one.findings), one.unknown), prose(one.method)] for one in view.detected]
    if rows:
        parts += ["<h3>Tests</h3>", table_element(["Question", "Answer", "Method"], rows, 3, "text")]
    silenced = [f"{one.title}: {sentence}" for one in view.detected for sentence in one.silenced]
    parts.append("<h3>Kept back</h3>")
    if silenced:
        parts.append("<ul>" + "".join(f"<li>{prose(sentence)}</li>" for sentence in silenced) + "</ul>")
    else:
        parts.append(paragraph("No guard kept anything back."))
    return parts


def _outcome(findings: int, unknown: bool) -> str:
    if findings:
        return f"{findings} found"
    return "cannot be told" if unknown else "nothing found"


def caveats(view: View) -> list[str]:
    """Return what the page cannot know, as sentences."""
    sentences = [
        "All of this is of one run. Training again on the same labels may give another picture.",
    ]
    if not view.history.has_records:
        return sentences
    if view.known_rounds:
        counts = view.test_counts[view.known_rounds[-1]]
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
