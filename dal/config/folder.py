"""Where the presets are."""

from __future__ import annotations

from pathlib import Path


def config_folder() -> Path:
    """The folder ``configs``: in the installed package, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"
