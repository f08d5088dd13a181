"""Registry of the data sets.

A module in this folder that defines one DataConfig is one option of ``data=``.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from dal.data.sets.config import DataConfig
from dal.errors import unknown_choice

_NEED_SETTINGS = {"huggingface", "image_folder", "mask_folder", "torchvision", "unlabeled_folder"}


def registry() -> dict[str, type[DataConfig]]:
    """Map module names to the DataConfig that each defines, in alphabetical order.

    Raises TypeError if a module defines more than one.

    >>> registry()["digits"].__name__
    'Digits'
    """
    found: dict[str, type[DataConfig]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        name = f"{__package__}.{module.name}"
        configs = [
            member
            for member in vars(importlib.import_module(name)).values()
            if isinstance(member, type)
            and issubclass(member, DataConfig)
            and member is not DataConfig
            and member.__module__ == name
        ]
        if len(configs) > 1:
            raise TypeError(f"{name} must define one DataConfig, got {', '.join(c.__name__ for c in configs)}")
        if configs:
            found[module.name] = configs[0]
    return found


def outside_set(name: str, download: bool = False) -> DataConfig:
    """Return the data set for ``data.outside_from``, with default settings.

    ``download`` applies if the data set has this setting.

    Raises DalError for an unknown name, and for data sets that require settings, such as image_folder.

    >>> len(outside_set("digits").read().train)
    1297
    """
    known = {key: config for key, config in registry().items() if key not in _NEED_SETTINGS}
    if name not in known:
        raise unknown_choice("data.outside_from", known, name)
    config = known[name]()
    if hasattr(config, "download"):
        config.download = download
    return config
