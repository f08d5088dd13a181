"""Numbers: scales and whole numbers."""

import numpy as np
import pytest

from dal.acquisition.search.numbers import check_whole, safe_scale
from dal.errors import DalError


@pytest.mark.parametrize("largest", [1e-300, 1e-20, 2.0**-30, 1.0, 2.0**30, 1e20, 1e300])
def test_scaled_numbers_can_be_squared_in_single_precision(largest):
    scale = safe_scale(largest)
    assert np.frexp(scale)[0] == 0.5
    assert 2.0**-31 <= largest * scale <= 2.0**30


@pytest.mark.parametrize("value", [True, 1.0, "3", 1, None])
def test_what_is_no_whole_number_of_that_size_is_refused(value):
    with pytest.raises(DalError, match=r"^x: expected a whole number of at least 2 \(as two are compared\), got "):
        check_whole("x", value, 2, "as two are compared")
    check_whole("x", 2, 2)
