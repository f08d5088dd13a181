"""The verdicts: findings by weight, then what was not found, then what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dal.analysis.diagnosis.finding import Detected, Finding

MOST = 6
LEAST_WEIGHT = 0.5
"""Findings with a lower weight are true of most runs and need no action, so they are notes and not headlines."""
EXPECTED = frozenset({"association"})
"""Detectors whose finding is what labels are for: 80 of 80 measured runs of digits have it. Only its section shows it.
"""


@dataclass(frozen=True)
class Unknown:
    """Detectors that cannot tell for the same kind of reason."""

    label: str
    """``Cannot be told``, with ``yet`` if more rounds can tell."""
    detected: tuple[Detected, ...]
    kind: str = ""
    """What they lack, such as ``too few rounds: 2 of 4``."""
    why: str = ""
    """The whole reason of a detector that shares it with no other."""

    @property
    def sentence(self) -> str:
        """The line of the terminal."""
        titles = _listed([one.title for one in self.detected])
        return f"{self.label}{self.kind and f' ({self.kind})'}: {titles}.{self.why and f' {self.why}'}"


@dataclass(frozen=True)
class Headlines:
    """The verdicts of a run. Each detector has one place: among findings, notes, quiet or unknown ones."""

    findings: tuple[Finding, ...]
    """The strongest first, at most MOST."""
    more: int
    """How many findings are not among them."""
    notes: tuple[Finding, ...]
    """Findings that need no action."""
    quiet: tuple[Detected, ...]
    unknown: tuple[Detected, ...]

    @property
    def verdict(self) -> str:
        """One sentence if there is no finding, or an empty text. It says nothing if no detector could tell."""
        if self.findings or (self.unknown and not self.quiet and not self.notes):
            return ""
        return "No detector found anything that needs action."

    @property
    def quiet_sentence(self) -> str:
        """One sentence with the names of what was not found, or an empty text."""
        return f"Nothing found: {_listed([one.title for one in self.quiet])}." if self.quiet else ""

    @property
    def more_sentence(self) -> str:
        """A sentence about the findings that are only in the sections, or an empty text."""
        if not self.more:
            return ""
        return f"{self.more} more finding{'' if self.more == 1 else 's'}: see the sections below."

    def unknown_lines(self, finished: bool) -> list[Unknown]:
        """Return the unknown detectors by kind of reason. More rounds help a run that is not ``finished``."""
        kinds: dict[str, list[Detected]] = {}
        for one in self.unknown:
            kinds.setdefault(one.lack.what if one.lack else one.detector, []).append(one)
        return [_unknown(found, finished) for found in kinds.values()]


def headlines(detected: Sequence[Detected]) -> Headlines:
    """Return the verdicts.

    Each detector has its strongest finding before any detector has a second one.
    """
    lost = _lost_at_the_end(detected)
    weighty = [
        [finding for finding in one.findings if finding.weight >= LEAST_WEIGHT and not _repeats(finding, lost)]
        for one in detected
        if one.detector not in EXPECTED
    ]
    ranked = [sorted(findings, key=lambda finding: -finding.weight) for findings in weighty]
    first = sorted((found[0] for found in ranked if found), key=lambda finding: -finding.weight)
    rest = sorted((finding for found in ranked for finding in found[1:]), key=lambda finding: -finding.weight)
    chosen = (first + rest)[:MOST]
    said = {finding.detector for finding in first}
    small = [finding for one in detected for finding in one.findings if finding.weight < LEAST_WEIGHT]
    return Headlines(
        findings=tuple(sorted(chosen, key=lambda finding: -finding.weight)),
        more=len(first) + len(rest) - len(chosen) + sum(finding.detector in said for finding in small),
        notes=tuple(finding for finding in small if finding.detector not in said | EXPECTED),
        quiet=tuple(one for one in detected if not one.findings and not one.unknown),
        unknown=tuple(one for one in detected if not one.findings and one.unknown),
    )


def _lost_at_the_end(detected: Sequence[Detected]) -> set[int]:
    """Return the classes that were lost and not learned again."""
    changes = next((one.tables["changes"] for one in detected if "changes" in one.tables), None)
    if changes is None or not len(changes):
        return set()
    last = changes.sort_values("round", kind="stable").groupby("class")["event"].last()
    return {int(number) for number in last.index[last == "lost"]}


def _repeats(finding: Finding, lost: set[int]) -> bool:
    """Return whether a finding says of classes what the finding of a loss says already."""
    return finding.detector == "forgetting" and bool(finding.classes) and lost.issuperset(finding.classes)


def _unknown(detected: Sequence[Detected], finished: bool) -> Unknown:
    lacks = [one.lack for one in detected if one.lack is not None]
    if not lacks:
        return Unknown("Cannot be told", tuple(detected), why=detected[0].quiet)
    there = [lack.there for lack in lacks if lack.there is not None]
    needed = sorted({lack.needed for lack in lacks if lack.needed is not None})
    numbers = f": {max(there)} of {' to '.join(map(str, dict.fromkeys((needed[0], needed[-1]))))}" if needed else ""
    yet = " yet" if needed and not finished else ""
    return Unknown(f"Cannot be told{yet}", tuple(detected), f"{lacks[0].what}{numbers}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:1].lower() + name[1:] for name in names)
