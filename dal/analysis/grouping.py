"""Groups runs that differ only in their seed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dal.analysis.axis import UNITS, bought, noun
from dal.analysis.bought_units import UNIT_KEYS
from dal.analysis.statistics.curves import mean_and_interval
from dal.analysis.variant_names import UNSET, Variant, variant_names
from dal.errors import DalError
from dal.runs.files.same_data import comparable
from dal.runs.reader import Run
from dal.runs.round import on_test
from dal.runs.saved_config import ADDED, flatten, without_effect

PRESETS = ("compute", "benchmark")
"""Keys of the configuration that name the presets of its settings."""

_ES = ("", "es")  # of a verb

Settings = Mapping[str, str]  # dotted keys to JSON


@dataclass(frozen=True, eq=False)
class Group:
    """Runs with the same settings, sorted by seed, and their curves."""

    data: str
    acquisition: str
    settings: str  # what distinguishes it from other groups of the data, such as "compute=saver"; or ""
    runs: tuple[Run, ...]
    labels: NDArray[Any]  # (T,) labels bought at the rounds that all runs have, int64, or on another axis their cost
    accuracy: NDArray[np.float64]  # (S, T) the primary metric on the test set, as a fraction
    note: str  # caveats; or ""
    all_settings: tuple[tuple[str, str], ...]  # everything that differs within the data set, by name
    other_settings: frozenset[tuple[str, str]]  # all except seed and acquisition; equal if groups can be paired
    axis: str = UNITS  # what ``labels`` are: units, or the mean cost of the labels over the runs, a key of KINDS

    @property
    def name(self) -> str:
        """The name of the group in tables and plots."""
        return f"{self.acquisition}, {self.settings}" if self.settings else self.acquisition

    @property
    def metric(self) -> str:
        """The name of the primary metric, such as ``accuracy``."""
        return self.runs[0].primary_metric

    @property
    def mean_curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(T,) means over seeds and half widths of their t intervals, NaN for rounds that a run did not test."""
        means, half_widths = np.full((2, len(self.labels)), np.nan)
        known = ~np.isnan(self.accuracy).any(axis=0)
        means[known], half_widths[known] = mean_and_interval(self.accuracy[:, known])
        return means, half_widths

    @property
    def is_tested(self) -> bool:
        """Whether the primary metric of a round is known."""
        return not bool(np.isnan(self.accuracy).all())

    @property
    def test_intervals(self) -> NDArray[np.float64] | None:
        """(2, T) ends of the 95 % Wilson interval of one run on test labels that people gave, or None."""
        if len(self.runs) > 1:
            return None
        nothing = (np.nan, np.nan)
        ends = [row.test_interval(self.metric) or nothing for row in self.runs[0].rows[: len(self.labels)]]
        found = np.array(ends, dtype=np.float64).T
        return None if np.isnan(found).all() else found

    @property
    def seeds(self) -> tuple[int, ...]:
        """(S,) in the order of ``accuracy``."""
        return tuple(run.seed for run in self.runs)


def group_runs(runs: Iterable[Run], untested: bool = False, axis: str = UNITS) -> list[Group]:
    """Group runs that differ only in their seed.

    Keys that cannot change a result, such as prices, may also differ. Groups are sorted by data set, then by mean final
    accuracy, highest first. With ``untested``, the accuracy of a round without a test set is NaN. ``axis`` is what
    their curves are drawn against (see dal.analysis.axis). Raises DalError for no runs, for a duplicate seed in a group
    (its copies are not independent), and otherwise for a run without its primary metric on a test set.
    """
    members: dict[frozenset[tuple[str, str]], list[Run]] = defaultdict(list)
    runs = list(runs)
    # Runs of older versions know less of their data.
    for run in runs if not untested else ():
        check_curve(run)
    for run, fingerprint in zip(runs, comparable([run.fingerprint for run in runs]), strict=True):
        run = run if run.fingerprint == fingerprint else replace(run, fingerprint=fingerprint)
        members[frozenset(settings_of(run).items())].append(run)
    if not members:
        raise DalError("runs: expected at least one run, got none.")
    shown = telling_keys([settings_of(group[0]) for group in members.values()])
    groups = [
        _group(sorted(group, key=lambda run: run.seed), dict(settings), shown, axis)
        for settings, group in members.items()
    ]
    return sorted(_named(groups), key=lambda group: (group.data, -_last_accuracy(group), group.name))


def _last_accuracy(group: Group) -> float:
    """Return the mean accuracy after the last round, or -1 if it is not known."""
    return float(np.nan_to_num(group.accuracy[:, -1].mean(), nan=-1.0))


def _named(groups: Sequence[Group]) -> list[Group]:
    """Return the groups with the short settings of variant_names()."""
    named = []
    for group in groups:
        same_data = [other for other in groups if other.data == group.data]
        presets = dict(zip(map(id, same_data), differing_presets(same_data), strict=True))
        same_kind = [other for other in same_data if other.acquisition == group.acquisition]
        names = variant_names([Variant(presets[id(other)], other.all_settings) for other in same_kind], PRESETS)
        named.append(replace(group, settings=names[same_kind.index(group)]))
    return named


def differing_presets(groups: Sequence[Group]) -> list[tuple[tuple[str, str], ...]]:
    """Return each group's presets, without those that all groups share."""
    chosen = [[(name, str(group.runs[0].config.get(name, "none"))) for name in PRESETS] for group in groups]
    differing = [len(set(column)) > 1 for column in zip(*chosen, strict=True)]
    return [tuple(item for item, differs in zip(row, differing, strict=True) if differs) for row in chosen]


def num_common_rounds(labels: Sequence[Sequence[float]]) -> int:
    """Count the first rounds with equal labels in all curves.

    >>> num_common_rounds([[10, 20, 30], [10, 20], [10, 20, 25]])
    2
    """
    length = 0
    for row in zip(*labels, strict=False):
        if len(set(row)) > 1:
            break
        length += 1
    return length


def settings_of(run: Run) -> dict[str, str]:
    """Return settings that can change a result, except the seed, as JSON."""
    config = ADDED | dict(flatten(run.config))
    left_out = {"seed"} | without_effect(config) | _of_no_rule(config)
    settings = {k: json.dumps(v, default=str) for k, v in config.items() if k not in left_out}
    return settings | {"data.name": json.dumps(run.data), "data.fingerprint": json.dumps(run.fingerprint)}


def _of_no_rule(config: Mapping[str, Any]) -> set[str]:
    """Return the keys of the stop set if no rule uses it.

    A resumed run must still keep them, because its rows hold the predictions.
    """
    rules = ("kappa", "max_change", "max_uncertainty")
    unused = all(config.get(f"campaign.{rule}") is None for rule in rules)
    return {"campaign.stop_set_size", "campaign.kappa_rounds"} if unused else set()


def telling_keys(groups: Sequence[Settings]) -> dict[tuple[str, str], list[str]]:
    """Return the keys that distinguish groups.

    The keys of the result are the data set and the acquisition function, both as JSON. The parameters of an acquisition
    function are compared only between groups of the same function: BALD always has a number of draws, and margin never
    has one. All other keys are compared between all groups of a data set. What a label buys comes first, because the
    sizes of a campaign are other numbers for other units.
    """
    kinds = {(g["data.name"], g["acquisition.name"]) for g in groups}
    telling = {}
    for data, acquisition in kinds:
        same_data = [g for g in groups if g["data.name"] == data]
        same_kind = [g for g in same_data if g["acquisition.name"] == acquisition]
        every = dict.fromkeys(k for g in same_data for k in sorted(g))
        telling[data, acquisition] = [
            key
            for key in sorted(every, key=lambda key: key not in UNIT_KEYS)
            if key != "acquisition.name" and len({g.get(key) for g in _compared(key, same_kind, same_data)}) > 1
        ]
    return telling


def _compared(key: str, same_kind: Sequence[Settings], same_data: Sequence[Settings]) -> Sequence[Settings]:
    """Return the groups to compare for a key."""
    # Only groups with prices: campaign.cost_optimum already distinguishes the others.
    if key.startswith("prices."):
        return [g for g in same_data if key in g]
    return same_kind if key.startswith("acquisition.") else same_data


def _group(runs: Sequence[Run], settings: Settings, shown: Mapping[tuple[str, str], list[str]], axis: str) -> Group:
    for one, other in pairwise(runs):
        if one.seed == other.seed:
            raise DalError(
                f"runs: expected one run per seed with the same settings, got seed {one.seed} in "
                f"{str(one.path)!r} and in {str(other.path)!r}. Leave one of them out, or pass RunFolder a "
                "configuration that tells them apart."
            )
    data, acquisition = runs[0].data, runs[0].label
    keys = shown[settings["data.name"], settings["acquisition.name"]]
    all_settings = tuple((short_key(key, keys), plain_value(settings.get(key))) for key in keys)
    counts = [bought(run, axis).tolist() for run in runs]
    # Costs of the same round differ between seeds. Its point is at their mean.
    num_rounds = num_common_rounds(counts) if axis == UNITS else min(map(len, counts))
    if num_rounds == 0:
        raise DalError(
            f"runs: expected the same number of initial labels for each seed, got another in {str(runs[0].path)!r}."
        )
    return Group(
        data=data,
        acquisition=acquisition,
        settings="",
        runs=tuple(runs),
        labels=_labels(counts, num_rounds, axis),
        accuracy=np.array([run.curve[:num_rounds] for run in runs]),
        note=_note(runs, counts, num_rounds, axis),
        all_settings=all_settings,
        other_settings=frozenset((k, v) for k, v in settings.items() if not k.startswith("acquisition.")),
        axis=axis,
    )


def _labels(counts: Sequence[Sequence[float]], num_rounds: int, axis: str) -> NDArray[Any]:
    if axis == UNITS:
        return np.array(counts[0][:num_rounds], dtype=np.int64)
    means: NDArray[np.float64] = np.mean([one[:num_rounds] for one in counts], axis=0)
    return means


def check_curve(run: Run) -> None:
    """Raise DalError for a run without its primary metric on a test set."""
    if np.isnan(run.curve).any():
        metric = on_test(run.primary_metric)
        raise DalError(f"runs: expected {metric} in every round, got a run without it in {str(run.path)!r}.")


def _note(runs: Sequence[Run], counts: Sequence[Sequence[float]], num_rounds: int, axis: str) -> str:
    notes = []
    longest = max(labels[-1] for labels in counts)
    cut = [run.seed for run, labels in zip(runs, counts, strict=True) if labels[-1] < longest]
    if axis != UNITS:
        short = [run.seed for run, labels in zip(runs, counts, strict=True) if len(labels) > num_rounds]
        if short:
            notes.append(f"compared up to round {num_rounds - 1}: {seeds_in_words(short)} go{_ES[len(short) < 2]} on")
    elif cut:
        end = f"{counts[0][num_rounds - 1]} of {longest} {noun(axis)}"
        notes.append(f"compared up to {end}, all that {seeds_in_words(cut)} bought")
    elif any(len(labels) != num_rounds for labels in counts):
        notes.append(f"compared up to {counts[0][num_rounds - 1]} {noun(axis)}, after which the rounds differ")
    unfinished = [run.seed for run in runs if not run.finished]
    if unfinished:
        notes.append(f"{seeds_in_words(unfinished)} not finished")
    return "; ".join(notes)


def seeds_in_words(seeds: Collection[int]) -> str:
    """Return a phrase that lists the seeds.

    >>> seeds_in_words([3]), seeds_in_words([0, 1])
    ('seed 3', 'seeds 0, 1')
    """
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def short_key(key: str, among: Collection[str]) -> str:
    """Return the shortest unique end of a dotted key."""
    parts = key.split(".")
    for start in range(len(parts) - 1, 0, -1):
        end = ".".join(parts[start:])
        if sum(other == end or other.endswith(f".{end}") for other in among) == 1:
            return end
    return key


def plain_value(value: str | None) -> str:
    """Return a setting for display: JSON without quotes, or "unset"."""
    return UNSET if value is None else value.strip('"')


def short_names(
    settings: Sequence[Settings], keys: Sequence[str], presets: Sequence[tuple[tuple[str, str], ...]] = ()
) -> list[str]:
    """Return one name per element, from the values of the keys.

    Elements with equal values share a name. ``presets`` are those of each element; see variant_names().

    >>> short_names([{"a.lr": "1", "a.k": "2"}, {"a.lr": "1", "a.k": "3"}], ["a.lr", "a.k"])
    ['lr=1, k=2', 'lr=1, k=3']
    """
    rows = [tuple(values.get(key) for key in keys) for values in settings]
    distinct = list(dict.fromkeys(rows))
    short = [short_key(key, keys) for key in keys]
    heads = [presets[rows.index(row)] if presets else () for row in distinct]
    values = [tuple(zip(short, map(plain_value, row), strict=True)) for row in distinct]
    variants = [Variant(head, pairs) for head, pairs in zip(heads, values, strict=True)]
    names = dict(zip(distinct, variant_names(variants, PRESETS), strict=True))
    return [names[row] for row in rows]
