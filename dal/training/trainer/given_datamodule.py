"""Shows a module the datamodule that its user gave, because dal makes the loaders of a round with another one."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from dal.runtime.lightning_package import PYTORCH_LIGHTNING, in_package, package_of


class ShowsGiven:
    """A LightningDataModule whose other attributes are those of the datamodule that the user gave.

    It is false if the user gave none, as None is with Lightning alone. Its other attributes are then an AttributeError
    that says so.
    """

    user_datamodule: Any = None

    def __bool__(self) -> bool:
        return self.user_datamodule is not None

    def __getattr__(self, name: str) -> Any:
        # Copies and Lightning ask the object itself for private names.
        if name.startswith("_"):
            raise AttributeError(name)
        if self.user_datamodule is None:
            raise AttributeError(
                f"self.trainer.datamodule: expected a LightningDataModule with {name!r}, got data that do not come "
                "from a LightningDataModule. Pass it to from_dataset() or ActiveLearner, or give the module what it "
                "needs when you create it"
            )
        return getattr(self.user_datamodule, name)

    @property
    def hparams(self) -> Any:
        return ShowsGiven.__getattr__(self, "hparams")


class _TriedData(ShowsGiven, pl.LightningDataModule):
    """Has no loaders."""


def tried_data(module: Any, given: Any) -> Any:
    """Return the datamodule of a trial, from the module's Lightning package, which shows the one that the user gave.

    >>> class Mine(pl.LightningDataModule):
    ...     num_classes = 10
    >>> tried_data(pl.LightningModule(), Mine()).num_classes
    10
    """
    made = in_package(_TriedData, "LightningDataModule", package_of(module) or PYTORCH_LIGHTNING)()
    made.user_datamodule = given
    return made
