"""Short names of variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_SHOWN = 2
"""Maximum number of settings in a name, unless more are needed to distinguish the variants."""


@dataclass(frozen=True)
class Variant:
    """The settings of one variant of an acquisition function."""

    presets: tuple[tuple[str, str], ...]
    """The presets of the variant, such as ("compute", "saver")."""
    settings: tuple[tuple[str, str], ...]
    """The settings that differ within its data set, with the same names in each variant."""


def variant_names(variants: Sequence[Variant], presets: Sequence[str]) -> list[str]:
    """Return a distinct name for each variant.

    Examples are "compute=classic" and "query_size=20, lr=0.1, and 3 more".     Up to two settings are shown as they
    are. With more, the ``presets`` that differ within the data set come first, and then the settings that distinguish
    the variants: at most two, unless more are needed.

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
    if head:
        differing = [i for i in range(len(settings[0])) if len({one[i] for one in settings}) > 1]
        settings = [tuple(one[i] for i in differing) for one in settings]
    count = min(MOST_SHOWN, len(settings[0]))
    while count < len(settings[0]) and len({one[:count] for one in settings}) < len(settings):
        count += 1
    left = len(settings[0]) - count
    more = [f"and {left} more"] if left else []
    return [", ".join([*filter(None, [_joined((*head, *one[:count]))]), *more]) for one in settings]


def _joined(items: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in items)
