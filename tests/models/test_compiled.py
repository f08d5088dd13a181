"""What torch.compile makes of a pass equals the pass, hooks included, also with other masks and weights."""

import gc
import shutil
import weakref

import pytest
import torch
from helpers.passes import pool_pass, summarize_points
from torch import nn

from dal.acquisition import BALD, Margin
from dal.errors import DalError
from dal.models import compiled as module_of_code
from dal.models.adapt import as_adapted
from dal.models.adapted.scoring_model import scoring_view
from dal.models.backbones import build_backbone
from dal.models.classifier import Classifier
from dal.models.compiled import CompiledPasses
from dal.scoring.config import ScoringConfig

# The real compiler takes seconds and is tried once; "eager" runs what was recorded as it is.
needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs a compiler")
BACKENDS = ["eager", pytest.param("inductor", marks=[needs_compiler, pytest.mark.slow])]


@pytest.fixture(autouse=True)
def no_code_of_other_tests():
    module_of_code._kept.clear()
    yield
    module_of_code._kept.clear()


@pytest.fixture
def backend_of(monkeypatch):
    real = torch.compile

    def choose(name):
        if name == "inductor":  # without the programs that try out what the processor can do
            monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", False)
        monkeypatch.setattr(torch, "compile", lambda graph, **options: real(graph, backend=name, **options))

    return choose


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return as_adapted(Classifier(build_backbone("small_cnn", (1, 8, 8)), 3))


@pytest.fixture(scope="module")
def data(shared):
    return shared.make_images(40)


def both(model, acquisition, data, seed=0, **changes):
    return [
        summarize_points(
            model,
            acquisition,
            data,
            torch.arange(40),
            seed=seed,
            config=ScoringConfig(tile_size=16, compile=compiled, **changes),
        )[0]
        for compiled in (False, True)
    ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_bald_compiled_equals_bald(model, data, backend_of, backend):
    backend_of(backend)
    plain, compiled = both(model, BALD(5), data)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-7)
    assert compiled.std() > 0


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_masks_of_another_seed_and_weights_of_another_round_run_the_same_code(data, backend_of, precision, monkeypatch):
    backend_of("eager")
    counted, chosen = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda graph, **options: counted.append(1) or chosen(graph, **options))
    module = Classifier(build_backbone("small_cnn", (1, 8, 8)), 3)
    results = []
    for seed in (0, 1):
        plain, compiled = both(as_adapted(module), BALD(5), data, seed, precision=precision)
        torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-4)
        results.append(compiled)
        with torch.no_grad():
            module.head.weight.mul_(3)
    assert not torch.allclose(*results) and len(counted) == 1
    both(as_adapted(module), BALD(6), data, precision=precision)
    assert len(counted) == 2


def test_code_holds_no_weights_and_the_least_recent_is_dropped(data, backend_of, monkeypatch):
    backend_of("eager")
    monkeypatch.setattr(module_of_code, "_MOST_KEPT", 2)
    module = Classifier(build_backbone("small_cnn", (1, 8, 8)), 3)
    weight = weakref.ref(module.head.weight)
    for num_draws in (3, 4, 5):
        both(as_adapted(module), BALD(num_draws), data)
    assert len(module_of_code._kept) == 2
    del module
    gc.collect()
    assert weight() is None


def test_draws_and_plain_passes_do_not_mix(model, data, backend_of):
    """Both go through one module, whose hooks differ."""
    backend_of("eager")

    def reduce(view, x):
        return view.logits(x), view.mc_log_probs(x, 3), view.mc_log_probs(x, 4), view.logits(x), view.features(x)

    plain, compiled = (
        pool_pass(model, data, torch.arange(40), reduce, config=ScoringConfig(tile_size=16, compile=asked))
        for asked in (False, True)
    )
    for ours, theirs in zip(compiled, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_pass_compiles_once_and_leaves_the_module_alone(model, data, shared, monkeypatch):
    compiled, state = [], shared.module_state(model.module)
    monkeypatch.setattr(torch, "compile", lambda graph, **options: compiled.append(graph) or graph)
    summarize_points(model, Margin(), data, torch.arange(40), config=ScoringConfig(tile_size=8, compile=True))
    assert len(compiled) == 1
    assert shared.module_state(model.module) == state


def test_a_compiled_network_that_gives_other_numbers_is_refused(model, data, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **options: lambda *given: [out + 1 for out in graph(*given)])
    with pytest.raises(
        DalError, match=r"^scoring.compile: expected the compiled .* got a difference of 1\. Set scoring"
    ):
        both(model, Margin(), data)


def test_a_network_that_cannot_be_compiled_is_one_sentence(model, data, monkeypatch):
    def fail(graph, **options):
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(DalError) as error:
        both(model, Margin(), data)
    assert str(error.value) == (
        "scoring.compile: expected a network that torch.compile supports, got RuntimeError: no compiler. Set "
        "scoring.compile=false."
    )


def test_a_lack_of_memory_while_compiling_stays_one(monkeypatch):
    def fail(graph, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(torch.OutOfMemoryError):
        CompiledPasses(2)("plain", nn.Linear(3, 2), torch.zeros(2, 3))


def test_other_sizes_run_as_they_are(model, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **options: pytest.fail("compiled"))
    with scoring_view(model) as view:
        view.compiled = CompiledPasses(16)
        assert view.logits(torch.randn(5, 1, 8, 8)).shape == (5, 3)
