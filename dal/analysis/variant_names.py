"""Short names of variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_SHOWN = 2
"""Maximum number of settings in a name."""


UNSET = "unset"
"""The value of a setting that a variant does not have."""


@dataclass(frozen=True)
class Variant:
    """The settings of one variant of an acquisition function."""

    presets: tuple[tuple[str, str], ...]
    """The presets of the variant, such as ("compute", "saver")."""
    settings: tuple[tuple[str, str], ...]
    """The settings that differ within its data set, with the same names in each variant."""


def variant_names(variants: Sequence[Variant], presets: Sequence[str]) -> list[str]:
    """Return a distinct name for each variant.

    Examples are "compute=classic" and "query_size=20, lr=0.1, and 3 more". If no variant has more than two settings,
    a name lists all of them. Otherwise a name starts with the ``presets`` that differ within the data set. The
    settings that best distinguish the variants follow, at most two. Variants with equal names get a number.

    >>> settings = [(("lr", str(i)), ("growth", str(i)), ("average", str(i))) for i in range(2)]
    >>> both = [Variant((("compute", name),), s) for name, s in zip(("saver", "classic"), settings)]
    >>> variant_names(both, presets=["compute"])
    ['compute=saver', 'compute=classic']
    >>> variant_names([Variant((), s) for s in settings], presets=[])
    ['lr=0, growth=0, and 1 more', 'lr=1, growth=1, and 1 more']
    """
    if all(len(variant.settings) <= MOST_SHOWN for variant in variants):
        return [_joined(variant.settings) for variant in variants]
    heads = [tuple(item for item in variant.presets if item[0] in presets) for variant in variants]
    names = [""] * len(variants)
    for head in dict.fromkeys(heads):
        members = [place for place, other in enumerate(heads) if other == head]
        for place, name in zip(members, _within(head, [variants[i] for i in members]), strict=True):
            names[place] = name
    return names


def _within(head: tuple[tuple[str, str], ...], variants: Sequence[Variant]) -> list[str]:
    """Return the names of variants with the same presets."""
    settings = [variant.settings for variant in variants]
    differing = [i for i in range(len(settings[0])) if len({one[i] for one in settings}) > 1]
    # A preset in the name implies the settings that all these variants share.
    places = differing if head else [*differing, *(i for i in range(len(settings[0])) if i not in differing)]
    shown = _telling(settings, places)
    left = len(places) - len(shown)
    more = [f"and {left} more"] if left else []
    names = [", ".join([*filter(None, [_joined([*head, *(one[i] for i in shown)])]), *more]) for one in settings]
    counts = [names[:place].count(name) + 1 for place, name in enumerate(names)]
    return [name if count == 1 else f"{name} ({count})" for name, count in zip(names, counts, strict=True)]


def _telling(settings: Sequence[Sequence[tuple[str, str]]], places: Sequence[int]) -> list[int]:
    """Return the places of the settings to show, in order.

    These are the settings that best distinguish the variants, at most MOST_SHOWN.
    """

    def told_apart(shown: Sequence[int]) -> int:
        return len({tuple(one[i] for i in shown) for one in settings})

    shown: list[int] = []
    everything = told_apart(places)
    while told_apart(shown) < everything and len(shown) < MOST_SHOWN:
        shown.append(max((i for i in places if i not in shown), key=lambda i: told_apart([*shown, i])))
    shown += [i for i in places if i not in shown][: max(0, MOST_SHOWN - len(shown))]
    return [i for i in places if i in shown]


def _joined(items: Sequence[tuple[str, str]]) -> str:
    words = {"null": "no ", UNSET: "without "}
    return ", ".join(f"{words[value]}{name}" if value in words else f"{name}={value}" for name, value in items)
