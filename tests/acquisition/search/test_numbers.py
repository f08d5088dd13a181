"""Numbers: scales, whole numbers and finite numbers."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers.pretended_gpu import pretended_gpu

from dal.acquisition.search.numbers import check_finite, check_whole, checked_later, safe_scale
from dal.errors import DalError, NonFiniteError


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_finite_numbers_whose_sum_overflows_are_finite(dtype, sign):
    check_finite("values", torch.full((3, 4), sign * torch.finfo(dtype).max, dtype=dtype))


def test_infinities_that_cancel_are_found():
    values = torch.ones(4, 2)
    values[2, 1], values[3, 0] = torch.inf, -torch.inf
    with pytest.raises(NonFiniteError, match=r"^values: expected finite numbers, got inf at row 2 of 4\.$"):
        check_finite("values", values)
    with pytest.raises(NonFiniteError, match=r"^values: expected finite numbers, got -inf at row 6 of 9\.$"):
        check_finite("values", values[3:], 6, 9)


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 4), (7, 0)])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_check_made_later_says_what_a_check_now_says(shape, bad, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    for count in (0, 1, 2, 5):
        values = torch.rand(shape, generator=generator, dtype=torch.float16)
        places = torch.randint(0, max(1, values.numel()), (count,), generator=generator)
        if values.numel():
            values.view(-1)[places] = bad
            values.view(-1)[places[1:2]] = torch.nan
        told = []
        try:
            check_finite("values", values, 5, 20)
        except NonFiniteError as error:
            told = [(str(error), error.row)]
        with pretended_gpu(monkeypatch) as gpu, checked_later() as checks:
            check_finite("values", values.cuda(), 5, 20)
            assert gpu.reads.total() == 0
        found = []
        for check in checks:
            try:
                check._replace(found=check.found.as_subclass(torch.Tensor)).make()
            except NonFiniteError as error:
                found.append((str(error), error.row))
        assert found == told and bool(told) == (count > 0 and values.numel() > 0)
        with pytest.raises(NonFiniteError) if told else nullcontext(), checked_later() as checks:
            check_finite("values", values)  # a CPU has the values already
        assert not checks
