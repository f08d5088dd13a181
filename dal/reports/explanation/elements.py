"""HTML that several sections use: figures, tables, sentences of detectors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dal.analysis.diagnosis.finding import Detected
from dal.reports.offline.markup import escape


def prose(text: str) -> str:
    """Escape a sentence. A line does not break before a percent sign, nor inside ``p = 0.01``.

    >>> prose("5 % < p = 0.1").replace(chr(160), "_")
    '5_% &lt; p_=_0.1'
    """
    escaped = re.sub(r"(?<=\d) %", "\u00a0%", escape(text))
    return re.sub(r"\bp (=|&lt;) (?=\d)", "p\u00a0\\1\u00a0", escaped)


def figure_element(key: str, title: str, caption: str = "") -> str:
    """Return the place of a figure, with its title above and its caption below. The caption is escaped."""
    below = f'<p class="caption">{prose(caption)}</p>' if caption else ""
    return f'<figure><h3>{escape(title)}</h3><div class="figure" id="{key}"></div>{below}</figure>'


def absent(title: str, sentence: str) -> str:
    """Return the sentence that stands in place of a figure."""
    return f'<figure class="absent"><h3>{escape(title)}</h3><p>{prose(sentence)}</p></figure>'


def paragraph(sentence: str, kind: str = "") -> str:
    """Return a paragraph, or nothing for an empty sentence."""
    return f"<p{f' class={kind}' if kind else ''}>{prose(sentence)}</p>" if sentence else ""


def verdicts(results: Iterable[Detected]) -> str:
    """Return what the detectors of a section say, with the strongest finding first.

    Detectors that say the same share a line.
    """
    lines = []
    results = list(results)
    for one in results:
        ranked = sorted(one.findings, key=lambda finding: -finding.weight)
        lines += [_verdict("found", "Found", prose(finding.sentence)) for finding in ranked]
        same = [other for other in results if not other.findings and other.quiet == one.quiet]
        if not one.findings and same[0] is one:
            kind, word = ("unknown", "Cannot be told") if one.unknown else ("quiet", "Nothing found")
            titles = ", ".join(f"<b>{escape(other.title)}</b>" for other in same)
            lines.append(_verdict(kind, word, f"{titles}: {prose(one.quiet)}"))
    return f'<ul class="verdicts">{"".join(lines)}</ul>' if lines else ""


def _verdict(kind: str, word: str, text: str) -> str:
    return f'<li class="{kind}"><span class="badge">{word}</span><span>{text}</span></li>'


def table_element(header: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1, kind: str = "") -> str:
    """Return a table. ``rows`` are HTML; the first ``names`` columns are aligned to the left."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=name' if at < names else ''}>{cell}</{tag}>" for at, cell in enumerate(row))

    head = cells("th", [escape(text) for text in header])
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table"><table class="{kind}"><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in percent, or a dash if it is not known.

    >>> percent(0.5), percent(None)
    ('50.0 %', '–')
    """
    return "–" if share is None or share != share else f"{100 * share:.{digits}f} %"
