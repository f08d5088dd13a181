"""Pairs runs of several functions by seed, and rejects unpaired ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dal.analysis.aligned import align
from dal.analysis.axis import SECOND, UNITS, bought, noun
from dal.analysis.bought_units import COUNTED_IN_UNITS, UNIT_KEYS, units_of
from dal.analysis.grouping import (
    Group,
    differing_presets,
    group_runs,
    plain_value,
    seeds_in_words,
    settings_of,
    short_names,
    telling_keys,
)
from dal.analysis.initial_sets import check_initial_sets
from dal.analysis.statistics.curves import area_under_curve
from dal.analysis.variant_names import MOST_SHOWN
from dal.errors import DalError, bad_value
from dal.runs.reader import Run

_NO_PRESETS: Mapping[str, Sequence[str]] = MappingProxyType({})
_COUNTS = ("costs", "label counts")
_HELD = {2: 51, 3: 75}  # see bootstrap_interval


@dataclass(frozen=True, eq=False)
class Problem:
    """F functions on one data set, with common seeds and label counts."""

    name: str  # the data set, and the settings that distinguish the problem
    functions: tuple[Group, ...]  # (F,), largest mean area first
    labels: NDArray[Any]  # (T,) as in each of the functions
    measured: NDArray[np.bool_]  # (T,) whether every run has a round there; elsewhere some accuracies are interpolated
    notes: tuple[str, ...]  # caveats

    @property
    def metric(self) -> str:
        """The name of the primary metric, such as ``accuracy``."""
        return self.functions[0].metric

    @property
    def axis(self) -> str:
        """What ``labels`` are: units, or another cost of the labels (see dal.analysis.axis)."""
        return self.functions[0].axis

    @property
    def seeds(self) -> tuple[int, ...]:
        """(S,) in the order of the rows of ``accuracy``."""
        return self.functions[0].seeds

    @property
    def names(self) -> tuple[str, ...]:
        """(F,) names of the functions."""
        return tuple(function.name for function in self.functions)


def pair_runs(
    runs: Iterable[Run],
    *,
    vary: Sequence[str] = (),
    across: Sequence[str] = (),
    common_seeds: bool = False,
    common_labels: bool = False,
    presets: Mapping[str, Sequence[str]] = _NO_PRESETS,
    axis: str = UNITS,
) -> list[Problem]:
    """Pair runs by seed: one problem per data set, sorted by name.

    Runs of a problem may differ only in the acquisition function with its parameters, the seed, and keys that cannot
    change a result. ``vary`` are further dotted keys or sections that may differ, such as ``training.warm_start``; they
    become part of the compared function. ``across`` are keys whose values define separate problems, such as
    ``campaign.query_size``. Every function needs the same seeds, unless ``common_seeds`` drops the others. Each seed
    needs the same initial and validation set in every function. ``presets`` map names in ``vary`` and ``across``, such
    as ``compute``, to the keys that they stand for. ``axis`` is what curves are compared at: units, which are labels,
    or another cost of them (see dal.analysis.axis).

    If the label counts of runs differ, all curves are interpolated linearly at the union of the counts, and
    ``measured`` marks the counts that every run has. The problem covers the range that all runs share. An unfinished
    run may shorten this range only if ``common_labels`` is set.

    With ``vary=["campaign.unit"]``, runs that buy images and runs that buy regions are compared at a cost and paired by
    their seeds. Their initial sets and the sizes of their campaigns differ, because these count units.

    Raises DalError with the first differences for runs that are not paired, for fewer than two functions in a problem,
    for keys that no run has, for a run folder without selections.csv, and as group_runs does.
    """
    groups = group_runs(runs, axis=axis)
    settings = {id(group): settings_of(group.runs[0]) for group in groups}
    for argument, keys in (("vary", vary), ("across", across)):
        for key in keys:
            if not any(_within(name, presets.get(key, [key])) for name in chain.from_iterable(settings.values())):
                raise bad_value(argument, "a key of the configuration, such as campaign.query_size", key)
    named_by = [name for name in across if name in presets]
    vary, across = ([one for key in keys for one in presets.get(key, [key])] for keys in (vary, across))
    # A function has one name in all problems, so that results can be combined.
    named = _name_functions(groups, settings, ("acquisition", *vary))
    problems: dict[str, list[Group]] = defaultdict(list)
    for group, name in zip(named, _problem_names(groups, settings, across, named_by), strict=True):
        problems[name].append(group)
    free = ("acquisition", "data.name", *vary, *across)
    _check_functions(problems)
    return [_problem(name, problems[name], free, common_seeds, common_labels) for name in sorted(problems)]


def _within(key: str, sections: Iterable[str]) -> bool:
    """Return whether a dotted key is in one of the sections.

    >>> _within("training.average", ["training"]), _within("training.average", ["train"])
    (True, False)
    """
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _name_functions(
    groups: Sequence[Group], settings: Mapping[int, Mapping[str, str]], sections: Sequence[str]
) -> list[Group]:
    own = [{k: v for k, v in settings[id(g)].items() if _within(k, sections)} | {"data.name": ""} for g in groups]
    named, presets = list(groups), differing_presets(groups)
    for (_, acquisition), keys in telling_keys(own).items():
        places = [i for i, values in enumerate(own) if values["acquisition.name"] == acquisition]
        texts = short_names([own[i] for i in places], keys, [presets[i] for i in places])
        for i, text in zip(places, texts, strict=True):
            named[i] = replace(groups[i], settings=text)
    return named


def _problem_names(
    groups: Sequence[Group], settings: Mapping[int, Mapping[str, str]], across: Sequence[str], presets: Sequence[str]
) -> list[str]:
    own = [{k: v for k, v in settings[id(g)].items() if _within(k, across)} for g in groups]
    names = [""] * len(groups)
    for data in dict.fromkeys(group.data for group in groups):
        places = [i for i, group in enumerate(groups) if group.data == data]
        same_data = [own[i] for i in places]
        every = dict.fromkeys(chain.from_iterable(same_data))
        keys = [key for key in every if len({values.get(key) for values in same_data}) > 1]
        heads = [
            tuple(item for item in row if item[0] in presets) for row in differing_presets([groups[i] for i in places])
        ]
        for i, text in zip(places, short_names(same_data, keys, heads), strict=True):
            names[i] = ", ".join(filter(None, [data, text]))
    return names


def _check_functions(problems: Mapping[str, Sequence[Group]]) -> None:
    for name, groups in problems.items():
        if len(groups) < 2:
            others = {f"{group.name} on {other}" for other in problems if other != name for group in problems[other]}
            beside = f", and {', '.join(sorted(others))}" if others else ""
            alone = f"{groups[0].name} alone{beside}"
            raise DalError(f"runs: expected at least two functions to compare on {name}, got {alone}.")


def _problem(
    name: str, groups: Sequence[Group], free: Sequence[str], common_seeds: bool, common_labels: bool
) -> Problem:
    free, of_units = _freed_for_units(name, groups, free)
    _check_settings(name, groups, free)
    seeds, notes = _common_seeds(name, groups, common_seeds)
    notes += of_units
    kept = [replace(g, runs=tuple(run for run in g.runs if run.seed in seeds)) for g in groups]
    check_initial_sets(name, kept)
    if not common_labels:
        _check_finished(name, kept)
    labels, measured, aligned = align(kept)
    areas = [area_under_curve(labels, g.accuracy.mean(axis=0)) if len(labels) > 1 else 0.0 for g in aligned]
    order = sorted(range(len(aligned)), key=lambda i: (-areas[i], aligned[i].name))
    notes += _notes(kept, labels, measured)
    if aligned[0].axis == UNITS:  # costs of the initial set differ between seeds
        notes += _first_round_notes(aligned)
    return Problem(name, tuple(aligned[i] for i in order), labels, measured, tuple(notes))


def _freed_for_units(name: str, groups: Sequence[Group], free: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """Return the keys that may differ, and a note if the groups buy different units.

    Raises DalError if these are compared by their number.
    """
    units = units_of(group.runs[0] for group in groups)
    if len(units) == 1 or not any(_within(key, free) for key in UNIT_KEYS):
        return free, []
    if len({group.name for group in groups}) < len(groups):  # the sizes tell groups of the same units apart
        return free, []
    if groups[0].axis == UNITS:
        expected = f"a cost such as {SECOND}, because runs on {name} buy {' and '.join(units)}"
        raise bad_value("x", expected, UNITS)
    said = "initial sets differ too, and runs are paired by their seeds"
    return (*free, *UNIT_KEYS, *COUNTED_IN_UNITS), [f"runs buy {' and '.join(units)}: {said}"]


def _check_settings(name: str, groups: Sequence[Group], free: Sequence[str]) -> None:
    settings = [settings_of(group.runs[0]) for group in groups]
    keys = [key for key in dict.fromkeys(chain.from_iterable(settings)) if not _within(key, free)]
    differing = {key: list(dict.fromkeys(plain_value(s.get(key)) for s in settings)) for key in keys}
    differing = {key: values for key, values in differing.items() if len(values) > 1}
    if not differing:
        return
    told = ", ".join(f"{key} ({', '.join(values)})" for key, values in list(differing.items())[:MOST_SHOWN])
    if len(differing) > MOST_SHOWN:
        told += f", and {len(differing) - MOST_SHOWN} more"
    key = next(iter(differing))
    other = next(i for i, s in enumerate(settings) if s.get(key) != settings[0].get(key))
    examples = f"{str(groups[0].runs[0].path)!r} and {str(groups[other].runs[0].path)!r}"
    raise DalError(
        f"runs: expected runs on {name} that differ only in the acquisition function and the seed, got others in "
        f"{told}, as in {examples}; compare them separately, allow a key to differ with --vary KEY, or "
        "split its values into separate problems with --across KEY."
    )


def _common_seeds(name: str, groups: Sequence[Group], allowed: bool) -> tuple[list[int], list[str]]:
    """Return the common seeds and a note on the others."""
    everything = set(chain.from_iterable(group.seeds for group in groups))
    common = sorted(everything.intersection(*(group.seeds for group in groups)))
    if len(common) == len(everything):
        return common, []
    missing: dict[str, list[str]] = defaultdict(list)
    for group in groups:
        if len(group.seeds) < len(everything):
            missing[seeds_in_words(sorted(everything - set(group.seeds)))].append(group.name)
    lacking = "no " + " and no ".join(f"{seeds} of {'; '.join(names)}" for seeds, names in missing.items())
    if not common:
        raise DalError(f"runs: expected the same seeds of every function on {name}, got {lacking}; none is common.")
    if not allowed:
        raise DalError(
            f"runs: expected the same seeds of every function on {name}, got {lacking}; run the missing seeds, or "
            f"compare only {seeds_in_words(common)} with --common-seeds."
        )
    return common, [f"compared only on {seeds_in_words(common)}: {lacking}"]


def _check_finished(name: str, groups: Sequence[Group]) -> None:
    """Reject unfinished campaigns, which would shorten the comparison.

    A campaign that a stopping rule ended early is finished.
    """
    runs = list(chain.from_iterable(group.runs for group in groups))
    axis = groups[0].axis
    longest = max(bought(run, axis)[-1] for run in runs)
    for run in runs:
        last = bought(run, axis)[-1]
        if not run.finished and last < longest:
            raise DalError(
                f"runs: expected finished runs on {name}, got {str(run.path)!r} with {last} of {longest} {noun(axis)}; "
                f"finish it, or compare up to the {noun(axis)} that all runs have with --common-labels."
            )


def _notes(groups: Sequence[Group], labels: NDArray[Any], measured: NDArray[np.bool_]) -> list[str]:
    notes, axis = [], groups[0].axis
    longest = max(bought(run, axis)[-1] for group in groups for run in group.runs)
    for group in groups:
        short = [run.seed for run in group.runs if bought(run, axis)[-1] == labels[-1] < longest]
        if short and axis == UNITS:  # costs of runs that end together differ a little
            extent = f"{labels[-1]} of {longest} labels"
            notes.append(f"compared up to {extent}, all that {seeds_in_words(short)} of {group.name} bought")
        unfinished = [run.seed for run in group.runs if not run.finished]
        if unfinished:
            notes.append(f"{seeds_in_words(unfinished)} of {group.name} not finished")
    if not measured.all():
        notes.append(
            f"the {_COUNTS[axis == UNITS]} of rounds differ between runs: curves are interpolated, and tests at single "
            f"{_COUNTS[axis == UNITS]} "
            f"use the {int(measured.sum())} that all runs have"
        )
    seeds = len(groups[0].runs)
    if seeds == 1:
        notes.append("one seed: no intervals and no tests")
    elif seeds in _HELD:
        notes.append(
            f"{seeds} seeds are few: bootstrap intervals of 95 % contain the true value in about {_HELD[seeds]} % of "
            "cases"
        )
    return notes


def _first_round_notes(groups: Sequence[Group]) -> list[str]:
    """Return a note if accuracies differ before any selection.

    Equal initial sets, weights and training give equal accuracies.
    """
    first = np.array([group.accuracy[:, 0] for group in groups])
    spread = np.ptp(first, axis=0)
    seeds = [seed for seed, apart in zip(groups[0].seeds, spread, strict=True) if apart > 1e-9]
    if not seeds:
        return []
    return [
        f"{seeds_in_words(seeds)}: functions differ by up to {100 * spread.max():.1f} points with the initial set, "
        "before any selection, so pairing is weaker (training, hardware or versions differ)"
    ]
