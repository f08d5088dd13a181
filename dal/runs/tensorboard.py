"""Writes the rows of a campaign for TensorBoard."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dal.runtime.refusals import explained


def write_scalars(folder: Path, rows: Sequence[Mapping[str, Any]], replace: bool) -> None:
    """Write the numbers of rows over the training labels. ``replace`` removes earlier ones."""
    from torch.utils.tensorboard.writer import SummaryWriter  # lazy, because it takes long to import

    if replace:
        shutil.rmtree(folder, ignore_errors=True)
    if not rows:
        return
    with explained(path=folder):
        writer = SummaryWriter(str(folder))
        for row in rows:
            for key, value in row.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    writer.add_scalar(key, value, row["num_labeled"])
        writer.close()
