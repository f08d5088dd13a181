import torch

from dal.acquisition import RandomForeground, random_foreground_select

SHARES = torch.tensor([0.0, 0.1, 0.0, 1.0, 0.0, 0.5])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_points_with_foreground_come_first_in_random_order():
    orders = {tuple(random_foreground_select(SHARES, 6, generator(seed)).positions.tolist()) for seed in range(60)}
    assert {frozenset(order[:3]) for order in orders} == {frozenset({1, 3, 5})}
    assert len({order[:3] for order in orders}) == 6  # whatever their shares
    assert len({order[3:] for order in orders}) == 6


def test_scores_are_the_shares_of_foreground():
    found = random_foreground_select(SHARES, 3, generator())
    assert torch.equal(found.scores, SHARES.double()[found.positions])


class Canned:
    """A model whose logits are its inputs."""

    def features(self, x):
        return x

    def head(self, features):
        return features


def test_the_background_is_a_setting():
    logits = torch.tensor([[9.0, 0.0, 1.0], [0.0, 9.0, 1.0], [0.0, 1.0, 9.0]])
    assert RandomForeground().summarize(Canned(), logits)["foreground"].tolist() == [0, 1, 1]
    assert RandomForeground(background=2).summarize(Canned(), logits)["foreground"].tolist() == [1, 1, 0]
