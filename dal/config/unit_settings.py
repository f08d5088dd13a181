"""Settings of the units that a campaign buys: images, or regions of them for segmentation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from dal.data.units import Units
from dal.errors import bad_value, unknown_choice
from dal.scoring.dense.pooling import Pooling
from dal.scoring.limit import UnitOptions
from dal.stopping import CampaignConfig
from dal.tasks import Task

UNITS = ("image", "region")
_NO_POOLING, _NO_OPTIONS = Pooling(), UnitOptions()
_WORDS = {"None": "null", "False": "false"}


@dataclass
class CampaignSettings(CampaignConfig):
    """CampaignConfig with the unit that is bought, which in a library is the ``region_size`` of the data."""

    unit: str = "image"
    """What a label is bought for: image, or for segmentation region, a square of data.region_size pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit not in UNITS:
            raise unknown_choice("campaign.unit", UNITS, str(self.unit))


@dataclass
class AcquisitionSettings:
    """Settings of any acquisition function, for segmentation."""

    pool: str = "mean"
    """How the scores of pixels become the score of a unit: mean, sum, max, or top_k (the mean of the highest)."""
    top_k: int = 16
    """Number of the highest scores for acquisition.pool=top_k; smaller units use all of theirs."""
    per_cost: bool = False
    """Whether scores are divided by the expected cost of the unit, with campaign.cost=pixels, clicks or seconds."""
    max_per_image: int | None = None
    """Largest number of units of one image in a query; null sets no limit."""


@dataclass(frozen=True)
class UnitSettings:
    """The unit of a campaign, and how its units are scored and chosen."""

    unit: str = "image"
    pooling: Pooling = _NO_POOLING
    options: UnitOptions = _NO_OPTIONS

    @classmethod
    def of(cls, unit: str, values: Mapping[str, Any]) -> UnitSettings:
        """Return the settings from those of a campaign and of an acquisition function.

        >>> UnitSettings.of("region", {"pool": "max", "max_per_image": 2}).options.max_per_image
        2
        """
        pooling, options = (
            {f.name: values[f.name] for f in fields(one) if f.name in values} for one in (Pooling, UnitOptions)
        )
        return cls(unit, Pooling(**pooling), UnitOptions(**options))

    def check_region(self, region_size: int | None) -> None:
        """Raise DalError for regions without a size."""
        if self.unit == "region" and region_size is None:
            expected = "the side length of regions in pixels, for campaign.unit=region of segmentation data"
            raise bad_value("data.region_size", expected, None)
        if self.unit == "image" and region_size is not None:
            warnings.warn(
                f"data.region_size={region_size} has no effect with campaign.unit=image, which buys whole images.",
                stacklevel=2,
            )

    def check_sides(self, units: Units) -> None:
        """Raise DalError for regions that are larger than the images."""
        side, most = units.region_size, max(units.height, units.width)
        if self.unit == "region" and side is not None and side > most:
            raise bad_value("data.region_size", f"at most {most}, the side length of the images", side)

    def check_task(self, task: Task) -> None:
        """Raise DalError for settings away from their defaults with a task other than segmentation."""
        if task.is_dense:
            return
        if self.unit != "image":
            raise bad_value("campaign.unit", f"image with {task.name} data", self.unit)
        for part in (self.pooling, self.options):
            for f in fields(part):
                if (value := getattr(part, f.name)) != f.default:
                    words = _WORDS.get(str(f.default), str(f.default))
                    raise bad_value(f"acquisition.{f.name}", f"{words} with {task.name} data", value)


def unit_fields(cls: type[Any]) -> list[tuple[str, Any, Any]]:
    """Return the fields of AcquisitionSettings that an acquisition function does not have itself."""
    types, own = get_type_hints(AcquisitionSettings), {f.name for f in fields(cls)}
    shared = fields(AcquisitionSettings)
    return [(f.name, types[f.name], field(default=f.default)) for f in shared if f.name not in own]
