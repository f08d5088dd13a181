"""Labeling: the pool, queries, oracles, the initial set, and people."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dal.labeling.oracle import DatasetOracle, NoisyOracle, Oracle, OracleConfig
    from dal.labeling.people.answers import Answers
    from dal.labeling.people.oracle import People
    from dal.labeling.pool import Pool
    from dal.labeling.query import Query

__all__ = ["Answers", "DatasetOracle", "NoisyOracle", "Oracle", "OracleConfig", "People", "Pool", "Query"]

_HOMES = {
    "Answers": "dal.labeling.people.answers",
    "DatasetOracle": "dal.labeling.oracle",
    "NoisyOracle": "dal.labeling.oracle",
    "Oracle": "dal.labeling.oracle",
    "OracleConfig": "dal.labeling.oracle",
    "People": "dal.labeling.people.oracle",
    "Pool": "dal.labeling.pool",
    "Query": "dal.labeling.query",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that the page for people starts without PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dal.labeling' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the names that are not imported yet too, for completion."""
    return sorted({*globals(), *__all__})
