"""Writes a ranking: CSV, or COCO JSON with the boxes of the points."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dal import __version__
from dal.data.boxes import Box, box_in_file
from dal.data.images import ImageData
from dal.data.sources.folder.sizes import upright_size
from dal.errors import unknown_choice
from dal.labeling.query import Query
from dal.runtime.safe_text import spreadsheet_cell

SUFFIXES = {"csv": ".csv", "coco": ".json"}
"""The formats of a ranking, with the ends of their file names."""

_CATEGORY = "label this"


def check_format(format: str) -> None:
    """Raise DalError for an unknown format."""
    if format not in SUFFIXES:
        raise unknown_choice("--format", SUFFIXES, format)


@dataclass(frozen=True)
class Ranking:
    """The points of ``data``, best first, with their scores.

    >>> import torch
    >>> from dal.data.images import TensorSource
    >>> data = ImageData("toy", TensorSource(torch.zeros(2, 1, 4, 8, dtype=torch.uint8)), ["a.png", "b.png"],
    ...                  torch.tensor([0, -1]), ["cat", "dog"], [0.5], [0.5])
    >>> print(Ranking(data, Query.of(data, [1], [0.25])).text("csv"), end="")
    rank,index,id,score
    0,1,b.png,0.25
    """

    data: ImageData
    query: Query

    def text(self, format: str) -> str:
        """Return the content of the file."""
        return self._csv() if format == "csv" else self._coco()

    def _csv(self) -> str:
        """Return the table ``rank,index,id,score``. For regions, the columns ``x,y,width,height`` follow."""
        columns = ["rank", "index", "id", "score"]
        rows: Sequence[Sequence[Any]] = enumerate_rows(self.query.indices, self.query.ids, self.query.scores)
        if self.data.units_per_image > 1:
            columns += Box._fields
            rows = [[*row, *self._box(index)] for row, index in zip(rows, self.query.indices, strict=True)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(map(spreadsheet_cell, row) for row in rows)
        return text.getvalue()

    def _coco(self) -> str:
        """Return COCO JSON, with an annotation for each point, best first, and the images that have one."""
        images: dict[int, Mapping[str, Any]] = {}
        annotations = []
        for rank, index, name, score in enumerate_rows(self.query.indices, self.query.ids, self.query.scores):
            image, box = index // self.data.units_per_image, self._box(index)
            width, height = self._sizes[image]
            images.setdefault(
                image,
                {"id": image + 1, "file_name": self.data.ids[image], "width": width, "height": height},
            )
            annotations.append(
                {
                    "id": rank + 1,
                    "image_id": image + 1,
                    "category_id": 1,
                    "bbox": list(box),
                    "area": box.width * box.height,
                    "segmentation": [],
                    "iscrowd": 0,
                    "score": score if score is not None and math.isfinite(score) else None,
                    "rank": rank,
                    "unit": name,
                }
            )
        content = {
            "info": {"description": f"What to label next in {self.data.name}, best first", "version": __version__},
            "images": [images[image] for image in sorted(images)],
            "annotations": annotations,
            "categories": [{"id": 1, "name": _CATEGORY, "supercategory": ""}],
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def _box(self, index: int) -> Box:
        image, unit = divmod(index, self.data.units_per_image)
        height, width = self._shape
        y0, x0, y1, x1 = (0, 0, height, width) if self._edges is None else self._edges[unit]
        if self.data.files is None:
            return Box(x0, y0, x1 - x0, y1 - y0)
        return box_in_file((y0, x0, y1, x1), width, *self._sizes[image])

    @cached_property
    def _shape(self) -> tuple[int, int]:
        return self.data.image_shape[1:]

    @cached_property
    def _edges(self) -> list[list[int]] | None:
        return None if self.data.region_size is None else self.data.units.boxes.tolist()

    @cached_property
    def _sizes(self) -> Mapping[int, tuple[int, int]]:
        """The width and height of each ranked image, as people see it."""
        height, width = self._shape
        images = {index // self.data.units_per_image for index in self.query.indices}
        files = self.data.files
        return {image: (width, height) if files is None else upright_size(files[image]) for image in images}


def enumerate_rows(*columns: Sequence[Any]) -> list[list[Any]]:
    """Return the columns as rows, each starting with its rank.

    >>> enumerate_rows([7, 5], ["b", "a"])
    [[0, 7, 'b'], [1, 5, 'a']]
    """
    return [[rank, *values] for rank, values in enumerate(zip(*columns, strict=True))]
