"""The explanation of a run as one HTML file that works offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

from dal.analysis.diagnosis.finding import Detected
from dal.analysis.diagnosis.history import History
from dal.reports.explanation import (
    classes_section,
    collect_section,
    confusion_section,
    images_section,
    method_section,
    network_section,
    queries_section,
    run_section,
    training_section,
)
from dal.reports.explanation.elements import paragraph, prose
from dal.reports.explanation.facts import Facts
from dal.reports.explanation.headlines import Headlines, headlines
from dal.reports.explanation.view import ImageOf, Section, View
from dal.reports.offline.markup import escape, script_json
from dal.reports.offline.packed import NO_FIGURES, UNPACK, content_policy, packed, packed_plotly

_HERE = Path(__file__).parent

SECTIONS: Sequence[Callable[[View], Section]] = (
    run_section.run_section,
    classes_section.classes_section,
    confusion_section.confusion_section,
    queries_section.queries_section,
    training_section.training_section,
    network_section.network_section,
    images_section.images_section,
    collect_section.collect_section,
    method_section.method_section,
)
"""The sections below the headlines, in the page's order."""

_HOMES = {
    detector: module.KEY
    for module in (
        classes_section,
        confusion_section,
        queries_section,
        training_section,
        network_section,
        images_section,
        collect_section,
    )
    for detector in module.DETECTORS
}

REFRESH = '<meta http-equiv="refresh" content="20">\n'
"""Makes the page load itself again while the run goes on."""


def page(
    history: History, detected: Sequence[Detected], facts: Facts, images: ImageOf | None = None, *, live: bool = False
) -> str:
    """Return the page, which loads no other file.

    ``images`` returns the image of a point for its thumbnail. A ``live`` page reloads itself. Equal arguments give
    equal pages.
    """
    view = View(history, detected, facts, images)
    sections = [build(view) for build in SECTIONS]
    figures = {key: spec for section in sections for key, spec in section.figures.items()}
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        policy=content_policy([UNPACK + _script()]),
        refresh=REFRESH if live else "",
        title=escape(facts.title),
        style=_style(sections),
        links="".join(f'<a href="#{section.key}">{escape(section.link)}</a>' for section in sections),
        name=escape(facts.name),
        headlines=_headlines(headlines(detected), detected, facts),
        no_figures=NO_FIGURES,
        sections="\n".join(_element(at, section) for at, section in enumerate(sections, 2)),
        version=escape(facts.version),
        plotly=packed_plotly(),
        data=packed("figures", script_json(figures)),
        script=UNPACK + _script(),
    )


def still(text: str) -> str:
    """Return a live page as one that does not reload itself."""
    return text.replace(REFRESH, "", 1)


def _style(sections: Sequence[Section]) -> str:
    # Figures have their height before they are drawn, so that links and a reload find their place.
    heights = "".join(
        f"#{key} {{ min-height: {spec['layout']['height']}px }}\n"
        for section in sections
        for key, spec in section.figures.items()
        if "layout" in spec
    )
    return (_HERE / "page.css").read_text(encoding="utf-8") + heights + "".join(section.style for section in sections)


def _script() -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("figures.js", "matrix.js", "page.js"))


def _element(at: int, section: Section) -> str:
    parts = "\n".join(section.parts)
    title = f'<span class="number">{at}</span>{escape(section.title)}'
    return f'<section id="{section.key}"><h2>{title}</h2>\n{parts}\n</section>'


def _headlines(said: Headlines, detected: Sequence[Detected], facts: Facts) -> str:
    titles = {one.detector: one.title for one in detected}

    def chip(detector: str) -> str:
        key = _HOMES.get(detector, method_section.KEY)
        return f'<a class="chip" href="#{key}">{escape(titles[detector])}</a>'

    found = "".join(
        f'<li class="found"><span>{prose(finding.sentence)}</span>{chip(finding.detector)}</li>'
        for finding in said.findings
    )
    parts = [f'<p class="notice">{prose(facts.notice)}</p>' if facts.notice else ""]
    parts.append(f'<ul class="headlines">{found}</ul>' if found else "")
    parts.append(paragraph(said.verdict))
    parts.append(paragraph(said.more_sentence, "caption"))
    if said.notes:
        notes = "".join(f"<li>{chip(one.detector)} <span>{prose(one.sentence)}</span></li>" for one in said.notes)
        parts.append(f'<div class="row"><h3>Also seen</h3><ul class="unknowns">{notes}</ul></div>')
    if said.quiet:
        chips = "".join(chip(one.detector) for one in said.quiet)
        parts.append(f'<div class="row"><h3>Nothing found</h3><div class="chips">{chips}</div></div>')
    rows: dict[str, list[str]] = {}
    for line in said.unknown_lines(facts.finished):
        chips = "".join(chip(one.detector) for one in line.detected)
        kind = f"<span>{prose(line.kind[:1].upper() + line.kind[1:])}:</span>" if line.kind else ""
        why = f"<span>{prose(line.why)}</span>" if line.why else ""
        rows.setdefault(line.label, []).append(f'<div class="chips">{kind}{chips}{why}</div>')
    for label, lines in rows.items():
        parts.append(f'<div class="row"><h3>{label}</h3><div class="unknowns">{"".join(lines)}</div></div>')
    return "\n".join(part for part in parts if part)
