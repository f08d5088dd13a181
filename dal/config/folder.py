"""Locates the folder of presets."""

from __future__ import annotations

from pathlib import Path


def config_folder() -> Path:
    """Return the folder ``configs``.

    It is inside an installed package, and next to the package in a checkout.
    """
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"
