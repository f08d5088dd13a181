"""Labeling: the pool, queries, oracles and the initial set."""

from dal.labeling.oracle import DatasetOracle, NoisyOracle, Oracle, OracleConfig
from dal.labeling.pool import Pool
from dal.labeling.query import Query

__all__ = ["DatasetOracle", "NoisyOracle", "Oracle", "OracleConfig", "Pool", "Query"]
