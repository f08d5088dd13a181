"""Figures that are built, but not drawn."""

from contextlib import contextmanager

from matplotlib.figure import Figure


@contextmanager
def without_drawing():
    """Write a few bytes for each picture in the block. Yields what draws."""
    real = Figure.savefig
    Figure.savefig = lambda figure, file, **options: file.write(b"picture")
    try:
        yield real
    finally:
        Figure.savefig = real
