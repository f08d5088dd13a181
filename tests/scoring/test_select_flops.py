"""FLOPs of selection: products and distances, counted where they are computed."""

import pytest
import torch
from helpers.passes import choose

from dal.acquisition import BADGE, CoreSet, Margin
from dal.acquisition.search.flops import counted_work
from dal.acquisition.search.geometry import Euclidean, Gradients
from dal.costs.ledger import Ledger
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.models.classifier import Classifier

CLASSES = 3


def network():
    return as_adapted(Classifier(SmallCNN(1, (8, 8)), CLASSES))


def test_products_and_distances_of_selection_by_hand():
    rows, errors = torch.rand(6, 10), torch.rand(6, 3)
    points = Euclidean(rows, 1.0, torch.zeros(10))
    gradients = Gradients(errors, rows, 1.0)
    for geometry, a_product, a_distance in ((points, 2 * 10, 3 * 10), (gradients, 2 * 13, 6 * 13)):
        low, high = geometry.low(slice(0, 6)), geometry.high(slice(0, 4))
        with counted_work() as work:
            geometry.products(low, low.at(slice(0, 2)))
        assert work.flops == 6 * 2 * a_product
        with counted_work() as work:
            geometry.exact(high, high.flip(0))
        assert work.flops == 4 * a_distance
    with counted_work() as work:
        gradients.exact(high, high)  # all of them cancel
    assert work.flops == 4 * (6 + 10) * 13


@pytest.mark.parametrize("acquisition", [CoreSet(), BADGE()], ids=lambda a: a.name)
def test_selection_charges_its_products(acquisition, shared):
    data, model = shared.make_images(40, classes=CLASSES), network()
    width = 128 if isinstance(acquisition, CoreSet) else 128 + CLASSES
    labeled = torch.arange(5) if acquisition.uses_labeled_points else torch.arange(0)
    counts, chosen = [], []
    for _ in range(2):
        ledger = Ledger()
        found = choose(model, acquisition, (data, torch.arange(5, 40)), (data, labeled), 4, ledger=ledger)
        counts.append(ledger.row()["flops_select"])
        chosen.append(found.positions.tolist())
    # At the least each point has met a center; at the most all pairs, of which each is settled too.
    assert 35 * 2 * width <= counts[0] <= 35 * 9 * (2 + 2 + 16) * width
    assert counts[0] == counts[1]
    assert chosen[0] == chosen[1]


def test_functions_that_only_sort_charge_no_selection(shared):
    ledger, data = Ledger(), shared.make_images(11, classes=CLASSES)
    choose(network(), Margin(), (data, torch.arange(11)), (data, torch.arange(0)), 4, ledger=ledger)
    assert ledger.row()["flops_select"] == 0
