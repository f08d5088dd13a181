"""Tests of reports draw their pictures, those of their fixtures too."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def drawn(quick_pictures):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", quick_pictures)
        yield
