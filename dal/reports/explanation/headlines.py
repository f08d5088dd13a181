"""The verdicts: findings by weight, then what was not found, then what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dal.analysis.diagnosis.finding import Detected, Finding

MOST = 6
LEAST_WEIGHT = 0.5
"""Findings with a lower weight are true of most runs and need no action, so they are notes and not headlines."""


@dataclass(frozen=True)
class Headlines:
    """The verdicts of a run."""

    findings: tuple[Finding, ...]
    """The strongest first, at most MOST."""
    more: int
    """How many findings are not among them."""
    notes: tuple[Finding, ...]
    """Findings that need no action."""
    quiet: tuple[Detected, ...]
    unknown: tuple[Detected, ...]

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


def headlines(detected: Sequence[Detected]) -> Headlines:
    """Return the verdicts.

    Each detector has its strongest finding before any detector has a second one.
    """
    weighty = [[finding for finding in one.findings if finding.weight >= LEAST_WEIGHT] for one in detected]
    ranked = [sorted(findings, key=lambda finding: -finding.weight) for findings in weighty]
    first = sorted((found[0] for found in ranked if found), key=lambda finding: -finding.weight)
    rest = sorted((finding for found in ranked for finding in found[1:]), key=lambda finding: -finding.weight)
    chosen = (first + rest)[:MOST]
    return Headlines(
        findings=tuple(sorted(chosen, key=lambda finding: -finding.weight)),
        more=len(first) + len(rest) - len(chosen),
        notes=tuple(finding for one in detected for finding in one.findings if finding.weight < LEAST_WEIGHT),
        quiet=tuple(one for one in detected if not one.findings and not one.unknown),
        unknown=tuple(one for one in detected if not one.findings and one.unknown),
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:1].lower() + name[1:] for name in names)
