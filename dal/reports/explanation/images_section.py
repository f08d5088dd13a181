"""The section of images: those forgotten most, labels worth a second look, and the map of the labeled points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dal.reports.explanation.drawing import Spec, axis, color_bar, figure, numbers
from dal.reports.explanation.elements import absent, figure_element, paragraph, prose, verdicts
from dal.reports.explanation.sprite import Sprite
from dal.reports.explanation.view import Section, View
from dal.reports.offline.markup import escape, plotly_text

KEY, TITLE = "images", "Images"
DETECTORS = ("forgetting", "suspects")

POINTS = ("index", "label", "events", "mean_p", "sd_p", "correctness", "rounds")
"""Columns of the table ``points`` of the detector ``forgetting``, one row per labeled point, the most forgotten first:
index, told class, forgetting events, mean and standard deviation over rounds of the probability of the told class,
share of rounds in which the prediction is the told class, and number of rounds since it was labeled."""
SUSPECTS = ("index", "told", "suggested", "p_told")
"""Columns of the table ``suspects`` of the detector ``suspects``, the most suspicious first: index, told class,
suggested class, and the probability of the told class."""

_MOST, _MOST_SUSPECTS, _MOST_DOTS, _YOUNG = 24, 24, 2000, 4


def images_section(view: View) -> Section:
    """Return the section."""
    if not view.history.has_records:
        return Section(KEY, TITLE, [verdicts(view.of(*DETECTORS))])
    points = view.table("forgetting", "points", POINTS)
    suspects = view.table("suspects", "suspects", SUSPECTS)
    forgotten = None if points is None else points[points["events"] > 0].head(_MOST)
    suspects = None if suspects is None else suspects.head(_MOST_SUSPECTS)
    indices = [int(at) for table in (forgotten, suspects) if table is not None for at in table["index"]]
    if points is not None:
        indices += _spread(points)
    sprite = view.sprite(KEY, "train", list(dict.fromkeys(indices)))
    parts, figures = [verdicts(view.of(*DETECTORS))], {}
    if sprite is None:
        parts.append(paragraph(view.facts.no_images, "caption"))
    parts.append(_forgotten(view, forgotten, sprite))
    parts.append(_suspects(view, suspects, sprite))
    title = "Map of the labeled points"
    if points is None:
        parts.append(absent(title, _no_points(view)))
    else:
        caption = (
            "Right: the model is sure of the told class. Up: its probability changes between rounds. Rings are points "
            f"with fewer than {_YOUNG} rounds. Points at the left look hard, rare or wrongly labeled, and the map "
            "cannot tell which."
        )
        parts.append(figure_element("map", title, caption))
        parts.append('<div id="map-image" class="strip" aria-live="polite">Point at a dot to see its image.</div>')
        figures["map"] = _map(view, points, sprite)
    style = "" if sprite is None else sprite.style
    return Section(KEY, TITLE, [part for part in parts if part], figures, style)


def _no_points(view: View) -> str:
    if all(trained is None for trained in view.history.trained):
        return "No round has records of its labeled points."
    return "The records of the labeled points are too few."


def _spread(points: pd.DataFrame) -> list[int]:
    """Return the points with the lowest mean, for thumbnails of the map."""
    return [int(at) for at in points.sort_values("mean_p", kind="stable")["index"].head(120)]


def history_of_point(view: View, index: int) -> str:
    """Return right and wrong by round since the point was labeled, as HTML."""
    marks, words = [], []
    for at, trained in enumerate(view.history.trained):
        if trained is None:
            continue
        row = np.flatnonzero(trained.index == index)
        if len(row):
            right = bool(trained.predicted[row[0]] == trained.label[row[0]])
            marks.append(f"<i{'' if right else ' class=wrong'}></i>")
            words.append(f"{at} {'right' if right else 'wrong'}")
    said = escape("By round: " + ", ".join(words))
    return f'<span class="spark" role="img" aria-label="{said}" title="{said}">{"".join(marks)}</span>'


def _forgotten(view: View, table: pd.DataFrame | None, sprite: Sprite | None) -> str:
    title = "Forgotten most"
    if table is None:
        return absent(title, _no_points(view))
    if not len(table):
        return absent(title, "No labeled point was right in a round and wrong in a later one.")
    cards = [
        _card(
            view,
            sprite,
            int(row["index"]),
            f"labeled {view.name(int(row['label']))}",
            f"{int(row['events'])}× forgotten",
            history_of_point(view, int(row["index"])),
        )
        for row in table.to_dict("records")
    ]
    return _gallery(
        title, cards, "Right (dark) and wrong (striped) by round since it was labeled. Look at these: they can be hard."
    )


def _suspects(view: View, table: pd.DataFrame | None, sprite: Sprite | None) -> str:
    title = "Labels worth a second look"
    if table is None:
        result = view.of("suspects")
        return absent(title, result[0].quiet if result and result[0].quiet else "No labels are suspicious.")
    cards = [
        _card(
            view,
            sprite,
            int(row["index"]),
            f"labeled {view.name(int(row['told']))}",
            f"perhaps {view.name(int(row['suggested']))}",
            f"p = {float(row['p_told']):.3f}",
        )
        for row in table.to_dict("records")
    ]
    return _gallery(
        title,
        cards,
        "The most suspicious first. p: probability of the told class. An error that is made every time is not found "
        "this way.",
    )


def _card(view: View, sprite: Sprite | None, index: int, *lines: str) -> str:
    name = view.train_id(index)
    picture = "" if sprite is None else sprite.element(index, name)
    rest = "".join(f"<span>{line}</span>" for line in lines)
    return f'<li>{picture}<span class="id" title="{escape(name)}">{escape(name)}</span>{rest}</li>'


def _gallery(title: str, cards: Sequence[str], caption: str) -> str:
    return (
        f'<figure><h3>{escape(title)}</h3><ul class="gallery">{"".join(cards)}</ul>'
        f'<p class="caption">{prose(caption)}</p></figure>'
    )


def _map(view: View, points: pd.DataFrame, sprite: Sprite | None) -> Spec:
    if len(points) > _MOST_DOTS:
        tiled = points["index"].isin(() if sprite is None else sprite.points)
        rest = points[~tiled]
        step = -(-len(rest) // max(_MOST_DOTS - int(tiled.sum()), 1))
        points = pd.concat([points[tiled], rest.iloc[::step]])
    ids = [plotly_text(view.train_id(int(at))) for at in points["index"]]
    text = [
        f"{name}<br>labeled {view.name(int(label))}<br>mean {mean:.2f}, deviation {deviation:.2f}, right in "
        f"{correct:.0%} of {int(rounds)} rounds"
        for name, label, mean, deviation, correct, rounds in zip(
            ids, *(points[column] for column in ("label", "mean_p", "sd_p", "correctness", "rounds")), strict=True
        )
    ]
    young = points["rounds"] < _YOUNG
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(points["mean_p"]),
        "y": numbers(points["sd_p"]),
        "hovertext": text,
        "hoverinfo": "text",
        "marker": {
            "color": numbers(points["correctness"]),
            "colorscale": "--ordered",
            "cmin": 0,
            "cmax": 1,
            "size": 7,
            "symbol": ["circle-open" if one else "circle" for one in young],
            "colorbar": color_bar("Share of rounds right"),
        },
    }
    spec = figure(
        [trace],
        420,
        "Scatter of the labeled points by mean and deviation of the probability of the told class",
        xaxis=axis("Mean probability of the told class", range=[-0.03, 1.03]),
        yaxis=axis("Standard deviation over rounds", rangemode="tozero"),
    )
    offsets = [None if sprite is None else sprite.offset(int(at)) for at in points["index"]]
    return spec | {"tiles": offsets, "ids": ids}
