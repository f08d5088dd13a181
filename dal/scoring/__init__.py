"""One model pass over the pool, and selection from its outputs."""

from dal.scoring.config import ScoringConfig
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import KnownPoints, select_points

__all__ = ["KnownPoints", "ModelPass", "ScoringConfig", "select_points"]
