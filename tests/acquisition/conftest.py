"""The references and the fake network that the tests of acquisition functions share."""

import pytest
from helpers import references as helper_references
from helpers.fakes import FakeModel, LargestTensor


@pytest.fixture(scope="session")
def references():
    """tests/helpers/references.py"""
    return helper_references


@pytest.fixture(scope="session")
def fake_model():
    return FakeModel


@pytest.fixture(scope="session")
def largest_tensor():
    return LargestTensor
