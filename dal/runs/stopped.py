"""Why a campaign ended, in words."""

from __future__ import annotations

STOPPED = {
    "budget": "the label budget is spent",
    "rounds": "the rounds of campaign.max_rounds are done",
    "pool_empty": "nothing is left to choose from",
    "target": "the target is reached",
    "plateau": "the last rounds brought no improvement",
    "stable_predictions": "the last models agree on the stop set",
    "classification_change": "the last round changed few predictions on the stop set",
    "certain": "the model is certain about the stop set",
    "cost_optimum": "the next round would cost more than its gain is worth",
}
"""A clause for each value of ``campaign_stopped``."""


def why_stopped(reason: str) -> str:
    """Return a clause that says why a campaign ended.

    >>> why_stopped("budget"), why_stopped("new_rule")
    ('the label budget is spent', 'its stopping rule new rule applies')
    """
    # A later version of dal may have written the reason.
    return STOPPED.get(reason, f"its stopping rule {reason.replace('_', ' ')} applies")
