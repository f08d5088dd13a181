"""dal: deep active learning on images that pays for itself."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dal.campaign import run
    from dal.labeling.pool import Pool
    from dal.loop import ActiveLearner
    from dal.models import Classifier, adapt

__all__ = ["ActiveLearner", "Classifier", "Pool", "adapt", "run"]

_HOMES = {
    "ActiveLearner": "dal.loop",
    "Classifier": "dal.models",
    "Pool": "dal.labeling",
    "adapt": "dal.models",
    "run": "dal.campaign",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``dal --help`` and ``dal report`` need not wait for torch."""
    if name == "__version__":
        return import_module("importlib.metadata").version("deep-active-learning")
    if name not in _HOMES:
        raise AttributeError(f"module 'dal' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the names that are not imported yet too, for completion."""
    return sorted({*globals(), *__all__})
