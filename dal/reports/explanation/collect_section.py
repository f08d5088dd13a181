"""The section that says which classes have the most to gain from more labels, and where these can come from."""

from __future__ import annotations

from typing import Any

from dal.reports.explanation.elements import absent, paragraph, percent, table_element, verdicts
from dal.reports.explanation.sprite import Sprite
from dal.reports.explanation.view import Section, View
from dal.reports.offline.markup import escape

KEY, TITLE = "collect", "What to collect next"
DETECTORS = ("collect",)

CLASSES = ("class", "low", "high", "left_in_pool", "advice", "examples")
"""Columns of the table ``collect`` of the detector ``collect``, the most to gain first: class number, ends of the
interval of the gain in recall, what is left in the pool and what to do in words, and positions of test points that are
still wrong, separated by spaces."""

_EXAMPLES, _MOST = 6, 12


def collect_section(view: View) -> Section:
    """Return the section."""
    parts = [verdicts(view.of(*DETECTORS))]
    if not view.history.has_records:
        return Section(KEY, TITLE, parts)
    table = view.table("collect", "collect", CLASSES)
    if table is None:
        unknown = next((one.quiet for one in view.of("collect") if one.quiet), "")
        parts.append(absent("Classes by what they have to gain", unknown or "The run has too few records for this."))
        return Section(KEY, TITLE, parts)
    rows = table.head(_MOST).to_dict("records")
    wrong = {int(row["class"]): [int(at) for at in str(row["examples"]).split()][:_EXAMPLES] for row in rows}
    chosen = [at for found in wrong.values() for at in found]
    sprite = view.test_sprite(KEY, chosen)
    header = ["Class", "Labels", "Recall", "Gain expected", "Left in the pool", "So", "Still wrong"]
    cells = [_row(view, row, wrong[int(row["class"])], sprite) for row in rows]
    parts.append("<h3>Classes by what they have to gain</h3>")
    parts.append(table_element(header, cells, 1, "collect"))
    left_out = f" Shown are the first {len(rows)} of {len(table)} classes." if len(rows) < len(table) else ""
    caption = (
        "The gain is extrapolated from the errors so far, and such curves promise too much: read the order, not the "
        f"numbers.{left_out}"
    )
    parts.append(paragraph(caption, "caption"))
    style = "" if sprite is None else sprite.style
    return Section(KEY, TITLE, parts, {}, style)


def _row(view: View, row: dict[Any, Any], wrong: list[int], sprite: Sprite | None) -> list[str]:
    number, history = int(row["class"]), view.history
    recall = float(view.last_recall[number])
    pictures = "".join(_example(view, at, sprite) for at in wrong)
    gain = f"{100 * float(row['low']):+.1f} to {100 * float(row['high']):+.1f} points"
    return [
        view.name(number),
        f"{int(history.new_labels[:, number].sum()):,}",
        percent(recall),
        gain,
        escape(str(row["left_in_pool"])),
        escape(str(row["advice"])),
        f'<span class="tiles">{pictures}</span>' if pictures else "–",
    ]


def _example(view: View, position: int, sprite: Sprite | None) -> str:
    name = view.test_id(position)
    picture = "" if sprite is None else sprite.element(int(view.history.test_index[position]), name)
    return picture or f'<span class="id" title="{escape(name)}">{escape(name)}</span>'
