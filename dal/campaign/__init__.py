"""A complete campaign: it buys labels, trains and tests until a stopping rule applies."""

from dal.campaign.campaign import run

__all__ = ["run"]
