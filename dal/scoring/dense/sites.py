"""Runs acquisition functions on the sites of images, as rows in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, Summary, check_summary
from dal.acquisition.search.columns import is_current
from dal.acquisition.search.draw_sums import DrawSums
from dal.acquisition.search.numbers import check_finite
from dal.errors import NonFiniteError
from dal.models.adapted.scoring_model import ScoringModel
from dal.scoring.tiles import DEFAULT_BYTES

_BLOCK_BYTES = 2**20
"""Bytes of the float64 rows of a block on a CPU, whose cache they fit into."""

_GPU_BLOCKS = 2**6
"""How many times as large a block is on a GPU."""

_SHARE_OF_DRAWS = 4
"""A group of draws takes at most this part of the memory."""

Block = tuple[slice, slice]
"""Images, and rows of their grid."""


class SiteView:
    """The PoolModel of one block of sites. Its images x are rows without pixels.

    Functions see features (R, D), logits (R, C) and draws (R, K, C) of R sites.
    """

    def __init__(self, view: ScoringModel, x: Tensor) -> None:
        self.view, self.x = view, x
        self._maps: tuple[Tensor, Tensor] | None = None
        self._drawn: Tensor | None = None
        self._own: tuple[Tensor, Tensor] | None = None
        self.block: Block = slice(None), slice(None)

    def features(self, x: Tensor) -> Tensor:
        features, logits = self.maps()
        self._own = rows_of(features, self.block), rows_of(logits, self.block)
        return self._own[0]

    def head(self, features: Tensor) -> Tensor:
        if self._own is not None and features is self._own[0]:
            return self._own[1].float()
        return self.view.head(features)

    def mc_log_probs(self, x: Tensor, num_draws: int) -> Tensor:
        if self._drawn is None or self._drawn.shape[1] != num_draws:
            self._drawn = self.view.mc_log_probs(self.x, num_draws)
        images, lines = self.block
        part = self._drawn[images, :, :, lines].permute(0, 3, 4, 1, 2)
        return part.reshape(-1, *part.shape[3:])

    def maps(self) -> tuple[Tensor, Tensor]:
        """Return features (B, D, h, w) and logits (B, C, h, w) of the images."""
        if self._maps is None:
            self._maps = self.view.outputs(self.x)
        return self._maps


class SiteRows:
    """Summarizes all sites of images with an acquisition function.

    The rows do not depend on the blocks. A function with running sums reads groups of draws one after the other, and a
    function of logits reads them in columns. Both hold fewer numbers at once than rows, and are faster. An image of one
    site is summarized as for classification.
    """

    def __init__(self, function: AcquisitionFunction, budget: int | None = None) -> None:
        self.function, self._budget = function, budget or DEFAULT_BYTES
        self._shape: torch.Size | None = None
        kind = type(function)
        self._has_sums = is_current(kind, "draw_sums") and function.draw_sums() is not None
        self._has_columns = is_current(kind, "site_summary")

    def __call__(self, sites: SiteView) -> tuple[Summary, torch.Size]:
        """Return tensors of B x h x w rows, and the size (h, w) of the grid."""
        view, x = sites.view, sites.x
        num_draws = int(getattr(self.function, "num_draws", 0)) if self.function.needs_dropout else 0
        if not num_draws:
            features, logits = sites.maps()
            grid, width = logits.shape[2:], features.shape[1] + logits.shape[1]
            columns = self._in_columns(logits) if self._has_columns and grid.numel() > 1 else None
            return columns or self._in_blocks(sites, len(x), grid, width), grid
        if self._shape is None:
            # A pass over two images, because the shape decides how the others are read.
            self._shape = view.logits(x[:2]).shape[1:]
        classes, grid = self._shape[0], self._shape[1:]
        if self._has_sums and grid.numel() > 1:
            return self._in_sums(view, x, num_draws), grid
        return self._in_blocks(sites, len(x), grid, num_draws * classes), grid

    def _block_bytes(self, x: Tensor) -> int:
        return min(_BLOCK_BYTES * (1 if x.device.type == "cpu" else _GPU_BLOCKS), self._budget // 16)

    def _in_blocks(self, sites: SiteView, count: int, grid: torch.Size, width: int) -> Summary:
        parts: list[Summary] = []
        for block in blocks(count, grid, width, self._block_bytes(sites.x)):
            sites.block = block
            rows = sites.x.new_empty(num_rows(block, grid), 0)
            with _image_of_row(block, grid):
                part = self.function.summarize(sites, rows)
                check_summary(self.function, part, len(rows))
            parts.append(part)
        return self._joined(parts)

    def _in_columns(self, logits: Tensor) -> Summary | None:
        parts: list[Summary] = []
        grid = logits.shape[2:]
        for block in blocks(len(logits), grid, logits.shape[1], self._block_bytes(logits)):
            part = self.function.site_summary(columns_of(logits, block))
            if part is None:
                return None
            check_summary(self.function, part, num_rows(block, grid))
            parts.append(part)
        return self._finite(parts, grid)

    def _in_sums(self, view: ScoringModel, x: Tensor, num_draws: int) -> Summary:
        parts: list[Summary] = []
        grid, most = torch.Size(()), self._budget // _SHARE_OF_DRAWS
        for images, groups in view.draw_groups(x, num_draws, most):
            sums: list[DrawSums] = []
            for logits in groups:
                grid, count = logits.shape[3:], images.stop - images.start
                for number, block in enumerate(blocks(count, grid, logits.shape[2], self._block_bytes(x))):
                    if number == len(sums):
                        sums.append(self._new_sums())
                    # All draws of a block, because its sums are in the cache.
                    for draw in logits.unbind(dim=1):
                        sums[number].add(columns_of(draw, block))
            parts += [each.summary() for each in sums]
        return self._finite(parts, grid)

    def _new_sums(self) -> DrawSums:
        made = self.function.draw_sums()
        assert made is not None
        return made

    def _joined(self, parts: list[Summary]) -> Summary:
        return {name: torch.cat([part[name] for part in parts]) for name in self.function.keeps}

    def _finite(self, parts: list[Summary], grid: torch.Size) -> Summary:
        """Join the parts, and check all of them at once, because a GPU waits for a check."""
        summary = self._joined(parts)
        with _image_of_row((slice(0, 1), slice(0, grid[0])), grid):
            for part in summary.values():
                check_finite("logits", part)
        return summary


def rows_of(maps: Tensor, block: Block) -> Tensor:
    """Return the sites of a block of (B, C, h, w) maps as (R, C) rows, by image and row-major."""
    images, lines = block
    return maps[images, :, lines].permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def columns_of(maps: Tensor, block: Block) -> Tensor:
    """Return the sites of a block of (B, C, h, w) maps as (C, R) columns, by image and row-major."""
    images, lines = block
    part = maps[images, :, lines]
    return part.transpose(0, 1).reshape(part.shape[1], -1).contiguous()


def blocks(count: int, grid: torch.Size, width: int, most_bytes: int = _BLOCK_BYTES) -> Iterator[Block]:
    """Cut the sites of ``count`` images into blocks of whole images or of whole lines, in order.

    ``width`` is the number of values of a site.

    >>> list(blocks(2, torch.Size([2, 2]), width=2**20))[1]
    (slice(0, 1, None), slice(1, 2, None))
    """
    most = max(1, most_bytes // (8 * max(1, width)))
    height, sites = grid[0], grid[0] * grid[1]
    if sites <= most:
        step = most // sites
        yield from ((slice(i, min(i + step, count)), slice(0, height)) for i in range(0, count, step))
        return
    lines = max(1, most // grid[1])
    for i in range(count):
        yield from ((slice(i, i + 1), slice(y, min(y + lines, height))) for y in range(0, height, lines))


def num_rows(block: Block, grid: torch.Size) -> int:
    """Return the number of sites of a block."""
    images, lines = block
    return int((images.stop - images.start) * (lines.stop - lines.start) * grid[1])


@contextmanager
def _image_of_row(block: Block, grid: torch.Size) -> Iterator[None]:
    """Make the row of a NonFiniteError that of its image."""
    try:
        yield
    except NonFiniteError as error:
        images, lines = block
        per_image = (lines.stop - lines.start) * grid[1]
        raise NonFiniteError(str(error), images.start + (error.row or 0) // per_image) from error
