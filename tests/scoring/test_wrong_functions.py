"""What a function of the user returns is checked, and the error names its method."""

import pytest
import torch
from helpers.passes import passes_of
from helpers.toys import toy_data, toy_model

from dal.acquisition.base import AcquisitionFunction, ScoreFunction, Selection, normalized_log_probs
from dal.errors import DalError, NonFiniteError
from dal.models.adapt import as_adapted
from dal.scoring.select import KnownPoints, select_points

NAN = float("nan")


@pytest.fixture(scope="module")
def choose():
    data, passes = toy_data(20), passes_of(as_adapted(toy_model()))

    def choose(function, query_size=3):
        known = KnownPoints(data, torch.arange(2), data.labels[:2])
        return select_points(passes, function, (data, torch.arange(2, 20)), known, query_size)

    choose.passes = passes
    return choose


def scoring(score):
    return type("Mine", (ScoreFunction,), {"score": lambda self, model, x: score(model, x)})()


class Features(AcquisitionFunction):
    keeps = ("features",)

    def summarize(self, model, x):
        return {"features": model.features(x)}


def selecting(select, method="select"):
    if method == "select_in":
        return type("Mine", (Features,), {"select": None, "select_in": lambda *_: select()})()
    return type("Mine", (Features,), {"select": lambda *_: select()})()


def picked(*positions, scores=None):
    return Selection(torch.tensor(positions), torch.zeros(len(positions)) if scores is None else scores)


@pytest.mark.parametrize(
    ("score", "got"),
    [
        (lambda model, x: model.head(model.features(x)), "'torch.float32 of shape (4, 3)'"),
        (lambda model, x: torch.ones(len(x), 1), "'torch.float32 of shape (4, 1)'"),
        (lambda model, x: torch.ones(3), "'torch.float32 of shape (3,)'"),
        (lambda model, x: torch.tensor(1.0), "'torch.float32 of shape ()'"),
        (lambda model, x: torch.ones(len(x), dtype=torch.complex64), "'torch.complex64 of shape (4,)'"),
        (lambda model, x: None, "'NoneType'"),
        (lambda model, x: [1.0] * len(x), "'list'"),
    ],
)
def test_scores_of_another_form_are_one_sentence(choose, score, got):
    with pytest.raises(DalError) as error:
        choose(scoring(score))
    expected = "expected a tensor of shape (4,), a score for each image of the batch"
    assert str(error.value) == f"Mine.score(): {expected}, got {got}."


def test_whole_numbers_and_booleans_are_scores(choose):
    assert choose(scoring(lambda model, x: torch.full((len(x),), 7))).scores.tolist() == [7, 7, 7]
    assert choose(scoring(lambda model, x: torch.ones(len(x)) > 0)).scores.tolist() == [1, 1, 1]


@pytest.mark.parametrize("rows", [lambda part: part[:3], lambda part: torch.cat([part, part])])
def test_a_summary_of_another_number_of_rows_is_one_sentence(choose, rows):
    methods = {"summarize": lambda _, model, x: {"features": rows(model.features(x))}, "select": None}
    mine = type("Mine", (Features,), methods)
    with pytest.raises(DalError, match=r"^Mine\.summarize\(\): expected 4 rows, one for each image of the batch"):
        choose(mine())


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        (picked(0, 1, 18), "expected positions from 0 to 17, got 18."),
        (picked(-1, 1, 2), "expected positions from 0 to 17, got -1."),
        (picked(4, 1, 4), "expected distinct positions, got position 4 more than once."),
        (picked(0, 1), "expected positions of shape (3,), the query size, got (2,)."),
        (picked(0, 1, 2, 3), "expected positions of shape (3,), the query size, got (4,)."),
        (picked(0.0, 1.0, 2.0), "expected positions that are whole numbers, got torch.float32."),
        (picked(True, True, False), "expected positions that are whole numbers, got torch.bool."),
        (picked(0, 1, 2, scores=torch.zeros(1)), "expected scores of shape (3,), the query size, got (1,)."),
        (Selection([0, 1, 2], torch.zeros(3)), "expected positions of shape (3,), the query size, got 'list'."),
        (torch.arange(3), "expected a Selection of positions and scores, got 'Tensor'."),
        ((torch.arange(3), torch.zeros(3)), "expected a Selection of positions and scores, got 'tuple'."),
        (None, "expected a Selection of positions and scores, got 'NoneType'."),
    ],
)
@pytest.mark.parametrize("method", ["select", "select_in"])
def test_a_wrong_selection_is_one_sentence(choose, selection, sentence, method):
    with pytest.raises(DalError) as error:
        choose(selecting(lambda: selection, method))
    assert str(error.value) == f"Mine.{method}(): {sentence}"
    assert choose(selecting(lambda: picked(5, 0, 17), method)).positions.tolist() == [5, 0, 17]


@pytest.mark.parametrize(
    "score",
    [
        lambda model, x: torch.where(torch.arange(len(x)) == 1, NAN, 0.0),
        lambda model, x: model.features(x)[:, 0] * NAN,
        lambda model, x: -torch.ones(len(x)) / 0,
        lambda model, x: normalized_log_probs("logits", model.head(model.features(x)) * NAN)[:, 0],
    ],
)
def test_the_function_is_named_for_its_own_nan(choose, score):
    pattern = r"^Mine\.score\(\): expected finite numbers, got NaN or infinity for 'toy-00\d' \(index \d\), whose"
    with pytest.raises(NonFiniteError, match=pattern):
        choose(scoring(score))


def test_the_network_is_named_for_its_nan(choose, monkeypatch):
    weight = choose.passes.model.module.head.weight
    monkeypatch.setattr(weight, "data", weight.data * NAN)
    with pytest.raises(NonFiniteError, match=r"^model: expected finite logits and features, got NaN"):
        choose(scoring(lambda model, x: model.head(model.features(x))[:, 0]))
