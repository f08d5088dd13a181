"""Checks the flags of `dal run` that Hydra handles."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

from dal.cli.flag_parser import flag_parser
from dal.config.folder import config_folder
from dal.config.schema import ROOT_NAME
from dal.config.values.resolve import first_line
from dal.errors import DalError, bad_value
from dal.runtime.user_paths import is_file, is_folder


def parse_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse flags and their values. Raises DalError for an unknown flag, a wrong value, or a missing file.

    >>> parse_flags(["--cfg", "job"]).cfg
    'job'
    """
    flags: argparse.Namespace = flag_parser().parse_args(list(arguments))
    folders = [str(config_folder())]
    for name, folder in (("--config-dir", flags.config_dir), ("--config-path", flags.config_path)):
        if folder is not None and not is_folder(folder):
            raise bad_value(name, "an existing folder", folder)
        folders += [] if folder is None else [folder]
    name = flags.config_name
    stem = None if name is None else name.removesuffix(".yaml")
    if name is not None and stem != ROOT_NAME and not any(is_file(f"{folder}/{stem}.yaml") for folder in folders):
        raise bad_value("--config-name", f"{ROOT_NAME}, or a file of --config-dir without .yaml", name)
    for asked, given in (("--resolve", flags.resolve), ("--package", flags.package is not None)):
        if given and flags.cfg is None:
            raise DalError(f"{asked}: expected --cfg on the same command line. Add --cfg job.")
    return flags


def check_package(package: str | None, config: Mapping[str, Any]) -> None:
    """Raise DalError unless a configuration has the section to print."""
    node: Any = config
    for part in [] if package in (None, "_global_") else str(package).split("."):
        if not isinstance(node, Mapping) or part not in node:
            raise bad_value("--package", "a section of the configuration, such as model", package)
        node = node[part]


@contextmanager
def printed_package(package: str | None) -> Iterator[None]:
    """Raise DalError in place of Hydra's text and exit for a section that the configuration to print lacks."""
    if package is None:
        yield
        return
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            yield
    except SystemExit as ended:
        if not said.getvalue():
            raise
        raise bad_value("--package", "a section of the configuration, such as hydra.sweeper", package) from ended


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn errors of Hydra in the block into DalError, instead of text and an exit.

    Hydra and YAML raise many types. The errors of a run must not reach this block.
    """
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except (DalError, OSError, MemoryError):
        raise
    except Exception as error:
        raise DalError(f"dal run: expected a command line that Hydra accepts, got: {first_line(error)}.") from error
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
