"""What every acquisition function must hold; a new one is tested because its file exists."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from helpers.pretended_gpu import pretended_gpu

from dal.acquisition import ScoreFunction, registry
from dal.acquisition.base import check_summary
from dal.acquisition.search import small_pool
from dal.errors import DalError, NonFiniteError

NUM_POINTS, NUM_LABELED, NUM_CLASSES, NUM_FEATURES, NUM_DRAWS = 40, 8, 4, 6, 20
POOL = torch.arange(NUM_POINTS)
LABELED = torch.arange(NUM_POINTS, NUM_POINTS + NUM_LABELED)
LABELS = torch.tensor([0, 1, 2, 0, -2, 2, 0, 0])  # one class has no label, and one point no class


@pytest.fixture(params=sorted(registry()))
def function(request):
    return registry()[request.param]()


@pytest.fixture
def model(fake_model):
    return fake_model.random(NUM_POINTS + NUM_LABELED, NUM_CLASSES, NUM_FEATURES, NUM_DRAWS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def summarized(function, model, x, batch_size=1000):
    batches = [function.summarize(model, batch) for batch in x.split(batch_size)]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def informed(function, model, labeled=LABELED, batch_size=1000):
    """The function that reads the pool."""
    if not function.learns_from_labels:
        return function
    return function.with_labeled(summarized(function, model, labeled, batch_size), LABELS)


def selected(function, model, query_size, seed=0, batch_size=1000, pool=POOL):
    function = informed(function, model, batch_size=batch_size)
    labeled = summarized(function, model, LABELED, batch_size) if function.uses_labeled_points else {}
    return function.select(summarized(function, model, pool, batch_size), labeled, query_size, generator(seed))


def assert_valid(selection, query_size, num_points=NUM_POINTS):
    positions, scores = selection
    assert positions.dtype == torch.int64 and positions.device.type == "cpu" and positions.shape == (query_size,)
    assert scores.dtype == torch.float64 and scores.device.type == "cpu" and scores.shape == (query_size,)
    assert bool(torch.isfinite(scores).all())
    assert len(set(positions.tolist())) == query_size
    assert int(positions.min()) >= 0 and int(positions.max()) < num_points


def test_is_a_frozen_dataclass_with_defaults_and_the_name_of_its_module(function):
    assert dataclasses.is_dataclass(function)
    assert function == type(function)()
    assert registry()[function.name] is type(function)
    with pytest.raises(dataclasses.FrozenInstanceError):
        function.anything = 1


@pytest.mark.parametrize("query_size", [1, 7, NUM_POINTS])
def test_choice_is_of_distinct_positions_in_range(function, model, query_size):
    assert_valid(selected(function, model, query_size), query_size)


@pytest.mark.parametrize("query_size", [0, -1, NUM_POINTS + 1, True, 2.0])
def test_query_size_out_of_range_is_refused_with_a_sentence(function, model, query_size):
    with pytest.raises(DalError, match=rf"^query_size: expected a whole number from 1 to {NUM_POINTS} .*, got .*\.$"):
        selected(function, model, query_size)


def test_same_seed_gives_same_answer(function, model):
    first, second = selected(function, model, 10, seed=3), selected(function, model, 10, seed=3)
    assert torch.equal(first.positions, second.positions) and torch.equal(first.scores, second.scores)


def test_global_generator_is_neither_read_nor_moved(function, model):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = selected(function, model, 10)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(selected(function, model, 10).positions, first.positions)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_loader_batch_size_does_not_matter(function, model, batch_size):
    reads = informed(function, model)
    whole, parts = summarized(reads, model, POOL), summarized(reads, model, POOL, batch_size)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    first, second = selected(function, model, 10), selected(function, model, 10, batch_size=batch_size)
    assert torch.equal(first.positions, second.positions) and torch.equal(first.scores, second.scores)


def test_score_function_does_not_depend_on_pool_order(function, model):
    if not isinstance(function, ScoreFunction) or function.name == "random":
        pytest.skip("draws from the generator by position, or breaks ties so")
    order = torch.randperm(NUM_POINTS, generator=generator())
    shuffled, straight = selected(function, model, 10, pool=order), selected(function, model, 10)
    assert torch.equal(shuffled.scores, straight.scores)
    # Ties come in an order drawn by place, so those of coarse scores may be other points of the same worth.
    if len(straight.scores.unique()) == 10:
        assert torch.equal(order[shuffled.positions], straight.positions)


def test_score_function_gives_the_highest_first(function, model):
    if not isinstance(function, ScoreFunction):
        pytest.skip("not a score function")
    scores = function.score(model, POOL).double()
    best = scores.sort(descending=True).values[:10]
    assert torch.equal(selected(function, model, 10).scores, best)


def test_summary_has_the_names_that_the_function_keeps(function, model):
    summary = summarized(informed(function, model), model, POOL)
    assert tuple(summary) == function.keeps
    check_summary(function, summary)


def test_summary_keeps_at_most_features_and_classes(function, model):
    summary = summarized(informed(function, model), model, POOL)
    # A handful of numbers more, such as a count at each step, grows with nothing.
    most = NUM_DRAWS * NUM_CLASSES if "log_probs" in function.keeps else NUM_CLASSES + NUM_FEATURES + 5
    assert all(len(part) == NUM_POINTS for part in summary.values())
    assert sum(part.numel() for part in summary.values()) <= NUM_POINTS * most
    # A view would keep the whole batch of draws alive behind the few numbers that it shows.
    assert sum(part.untyped_storage().nbytes() for part in summary.values()) <= 8 * NUM_POINTS * most


def test_what_the_labels_tell_makes_another_function(function, model):
    if not function.learns_from_labels:
        assert function.with_labeled({}, LABELS) is function
        pytest.skip("asks for no labels")
    before = summarized(function, model, POOL)
    first, second = informed(function, model), informed(function, model)
    assert type(first) is type(function) and first.name == function.name
    # Neither is taken for the other, nor for the one that read the labeled points, and none is printed at length.
    assert first == first and first != function and first != second and len({first, second, function}) == 3
    assert len(repr(first)) < 200
    after = summarized(function, model, POOL)
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.anything = 1


def test_inputs_are_left_as_they_are(function, model):
    function = informed(function, model)
    pool, labeled = summarized(function, model, POOL), summarized(function, model, LABELED)
    before = [part.clone() for part in (*pool.values(), *labeled.values())]
    function.select(pool, labeled if function.uses_labeled_points else {}, 10, generator())
    assert all(torch.equal(x, y) for x, y in zip(before, (*pool.values(), *labeled.values()), strict=True))


class Watched:
    """Tells which answers of a model were looked at, and spoils one of them."""

    def __init__(self, model, spoil=None, value=float("nan")):
        self.model, self.spoil, self.value, self.seen = model, spoil, value, set()

    def _answer(self, name, answer):
        self.seen.add(name)
        if name == self.spoil:
            answer = answer.clone()
            answer[0].view(-1)[-1] = self.value
        return answer

    def features(self, x):
        return self._answer("features", self.model.features(x))

    def head(self, features):
        return self._answer("head", self.model.head(features))

    def mc_log_probs(self, x, num_draws):
        return self._answer("mc_log_probs", self.model.mc_log_probs(x, num_draws))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("spoiled", ["features", "head", "mc_log_probs"])
def test_not_a_number_from_the_model_is_refused_with_a_sentence(function, model, spoiled, value):
    watch = Watched(model)
    selected(function, watch, 5)
    if spoiled not in watch.seen:
        pytest.skip(f"does not look at {spoiled}")
    with pytest.raises(NonFiniteError, match=r"^\w+: expected finite numbers, got (nan|inf) at row 0 of \d+\.$"):
        selected(function, Watched(model, spoiled, value), 5)


def test_random_does_not_run_the_network():
    selected(registry()["random"](), None, 5)


def degenerate(model, kind):
    features, head, draws = model.feature_table.clone(), model.head_matrix.clone(), model.draw_table.clone()
    if kind == "all points equal":
        features, draws = features[:1].expand_as(features), draws[:1].expand_as(draws)
    elif kind == "all features zero":
        features = torch.zeros_like(features)
    elif kind == "all probabilities one-hot":
        head = head * 1e6
        draws = torch.where(draws == draws.amax(dim=-1, keepdim=True), 0.0, -torch.inf)
    elif kind == "few distinct points":
        features, draws = features[POOL[:3].repeat(16)], draws[POOL[:3].repeat(16)]
    elif kind == "tiny":
        features = features * 1e-30
    elif kind == "half precision":
        features, head, draws = features.half(), head.half(), draws.half()
    elif kind == "bfloat16":
        features, head, draws = features.bfloat16(), head.bfloat16(), draws.bfloat16()
    return type(model)(features, head, draws)


KINDS = [
    "all points equal",
    "all features zero",
    "all probabilities one-hot",
    "few distinct points",
    "tiny",
    "half precision",
    "bfloat16",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("query_size", [5, NUM_POINTS])
def test_degenerate_pools_still_give_distinct_finite_choices(function, model, kind, query_size):
    assert_valid(selected(function, degenerate(model, kind), query_size), query_size)


def assert_gpu_equals_cpu(function, model, device):
    expected = selected(function, model, 20)
    with device:
        on_gpu = model.to("cuda")
        reads = informed(function, on_gpu, LABELED.cuda())
        labeled = summarized(reads, on_gpu, LABELED.cuda()) if function.uses_labeled_points else {}
        found = reads.select(summarized(reads, on_gpu, POOL.cuda()), labeled, 20, generator())
        assert_valid(found, 20)
    assert torch.equal(found.positions, expected.positions)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_gives_what_the_cpu_gives(function, model):
    assert_gpu_equals_cpu(function, model, nullcontext())


def test_no_operation_mixes_devices_on_a_pretended_gpu(function, model, monkeypatch):
    assert_gpu_equals_cpu(function, model, pretended_gpu(monkeypatch))


@pytest.mark.parametrize("name", ["badge", "coreset"])
def test_a_search_in_a_large_pool_does_not_mix_devices_either(name, model, monkeypatch):
    monkeypatch.setattr(small_pool, "MOST_NUMBERS", {})
    assert_gpu_equals_cpu(registry()[name](), model, pretended_gpu(monkeypatch))
