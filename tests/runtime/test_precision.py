import warnings

import pytest
import torch

from dal.runtime.precision import AUTOCAST, forward_precision, full_precision

CPU = torch.device("cpu")


def settings():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):
        return matmul.fp32_precision, cudnn.conv.fp32_precision
    return matmul.allow_tf32, cudnn.allow_tf32


TF32 = ("tf32", "tf32") if hasattr(torch.backends.cuda.matmul, "fp32_precision") else (True, True)
IEEE = ("ieee", "ieee") if hasattr(torch.backends.cuda.matmul, "fp32_precision") else (False, False)


def dtype():
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize("name", AUTOCAST)
@pytest.mark.parametrize("fails", [False, True])
def test_a_precision_holds_inside_and_is_put_back(name, fails):
    before = settings()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with forward_precision(name, CPU):
                inside, product = settings(), dtype()
                if fails:
                    raise KeyError
        except KeyError:
            assert fails
    assert inside == (TF32 if name == "tf32" else before)
    assert product == (AUTOCAST[name] or torch.float32)
    assert settings() == before and dtype() == torch.float32


def test_the_programs_own_setting_comes_back():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with forward_precision("tf32", CPU):
            pass
        assert torch.get_float32_matmul_precision() == "high"
        torch.set_float32_matmul_precision("highest")
        with forward_precision("tf32", CPU), full_precision(CPU):
            assert settings() == IEEE
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


def test_full_precision_stops_autocast():
    with forward_precision("bf16", CPU):
        with full_precision(CPU):
            assert dtype() == torch.float32
        assert dtype() == torch.bfloat16


@pytest.mark.parametrize("allowed", ["medium", "high", "highest"])
@pytest.mark.parametrize("inside", ["tf32", "full"])
def test_what_training_is_allowed_comes_back(allowed, inside):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(allowed)
        expected = settings()
        with full_precision(CPU) if inside == "full" else forward_precision("tf32", CPU):
            if inside == "tf32":
                # torch.compile reads the old names.
                assert torch.get_float32_matmul_precision() == "high" and torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == allowed
        assert settings() == expected
    finally:
        torch.set_float32_matmul_precision(before)
