"""Expected gradient length against gradients that automatic differentiation gives, one class after the other."""

import math

import pytest
import torch
from torch import nn

from dal.acquisition import EGL, egl_scores
from dal.errors import DalError, NonFiniteError


def slow_egl(layer, features):
    scores = []
    for h in features:
        probs = layer(h).softmax(dim=0).detach()
        score = 0.0
        for c, p in enumerate(probs):
            layer.zero_grad()
            nn.functional.cross_entropy(layer(h)[None], torch.tensor([c])).backward()
            length = math.sqrt(sum(float(x.grad.square().sum()) for x in layer.parameters()))
            score += float(p) * length
        scores.append(score)
    return torch.tensor(scores, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("num_classes", "num_features"), [(2, 1), (5, 7), (9, 3)])
def test_against_automatic_differentiation(num_classes, num_features, bias):
    g = torch.Generator().manual_seed(num_classes)
    layer = nn.Linear(num_features, num_classes, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    features = torch.randn(20, num_features, generator=g, dtype=torch.float64)
    found = egl_scores(layer(features).detach(), features, bias=bias)
    torch.testing.assert_close(found, slow_egl(layer, features), rtol=1e-11, atol=1e-14)


def test_by_hand():
    logits = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]], dtype=torch.float64).log()
    features = torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]])
    # 2 p (1 - p) sqrt(2) for two classes.
    expected = torch.tensor([0.5 * 5, 0, 0], dtype=torch.float64) * math.sqrt(2)
    torch.testing.assert_close(egl_scores(logits, features, bias=False), expected, rtol=1e-14, atol=1e-15)
    expected = torch.tensor([0.5 * math.sqrt(26), 2 * 3 / 16, 0], dtype=torch.float64) * math.sqrt(2)
    torch.testing.assert_close(egl_scores(logits, features), expected, rtol=1e-14, atol=1e-15)


def test_sure_points_keep_their_digits_and_their_order():
    gaps = torch.tensor([20.0, 40.0, 60.0, 300.0], dtype=torch.float64)
    logits = torch.stack([gaps, torch.zeros_like(gaps)], dim=1)
    found = egl_scores(logits, torch.ones(4, 1), bias=False)
    q = 1 / (1 + gaps.exp())
    torch.testing.assert_close(found, 2 * math.sqrt(2) * q * (1 - q), rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_features_of_any_size(scale):
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = egl_scores(logits, features * scale, bias=False) / scale
    torch.testing.assert_close(found, egl_scores(logits, features, bias=False), rtol=1e-12, atol=0)


def test_function_takes_its_parameter(fake_model):
    model, x = fake_model.random(30), torch.arange(30)
    features = model.features(x)
    for bias in (True, False):
        assert torch.equal(EGL(bias).score(model, x), egl_scores(model.head(features), features, bias=bias))


def test_what_makes_no_sense_is_refused():
    logits, features = torch.zeros(3, 4), torch.zeros(3, 2)
    with pytest.raises(DalError, match=r"logits: .*\(N, C\)"):
        egl_scores(torch.zeros(3), features)
    with pytest.raises(DalError, match=r"features: .*\(N, D\)"):
        egl_scores(logits, torch.zeros(3))
    with pytest.raises(DalError, match="features: expected 3 rows, as in logits, got 2"):
        egl_scores(logits, features[:2])
    with pytest.raises(DalError, match="at least one class and one feature"):
        egl_scores(logits[:, :0], features)
    bad = features.clone()
    bad[1, 1] = torch.inf
    with pytest.raises(NonFiniteError, match=r"features: .* row 1 of 3"):
        egl_scores(logits, bad)
    bad = logits.clone()
    bad[2, 1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"logits: .* row 2 of 3"):
        egl_scores(bad, features)
    with pytest.raises(DalError, match="bias: expected true or false"):
        EGL(bias=1)
