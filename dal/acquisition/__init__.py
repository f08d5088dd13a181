"""Acquisition functions, one file each: a pure function on tensors and the class of a few lines over it.

What each file names in its ``__all__`` can be imported from here; adding a function touches its own file only.

>>> from dal.acquisition import BALD, bald_scores, registry
>>> registry()["bald"] is BALD
True
"""

from typing import Any

from dal.acquisition.base import AcquisitionFunction, PoolModel, ScoreFunction, Selection, Summary, top_scores
from dal.acquisition.registry import modules, registry
from dal.acquisition.search.rows import DiskRows
from dal.acquisition.search.shards import Workspace

__all__ = ["AcquisitionFunction", "DiskRows", "PoolModel", "ScoreFunction", "Selection", "Summary", "Workspace"]
__all__ += ["registry", "top_scores"]

for _module in modules():
    for _name in getattr(_module, "__all__", ()):
        globals()[_name] = getattr(_module, _name)
        __all__ += [_name]


# Type checkers cannot see the loop above; this tells them that further names exist.
def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
