"""A network with canned answers, and a mode that finds the largest tensor made."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class FakeModel:
    """A network with canned answers: its images are row numbers (B,) of the tables."""

    def __init__(self, features, head, draws):
        self.feature_table, self.head_matrix, self.draw_table = features, head, draws

    @classmethod
    def random(cls, num_points, num_classes=4, num_features=6, num_draws=20, seed=0):
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(num_points, num_features, generator=generator)
        head = torch.randn(num_features, num_classes, generator=generator)
        draws = torch.randn(num_points, num_draws, num_classes, generator=generator).log_softmax(dim=-1)
        return cls(features, head, draws)

    def to(self, device):
        return FakeModel(self.feature_table.to(device), self.head_matrix.to(device), self.draw_table.to(device))

    def features(self, x):
        return self.feature_table[x]

    def head(self, features):
        # By elements: a matrix product may round a row differently in another batch, which is not what is tested.
        return (features[:, :, None] * self.head_matrix).sum(dim=1)

    def mc_log_probs(self, x, num_draws):
        assert num_draws == self.draw_table.shape[1]
        return self.draw_table[x]


class LargestTensor(TorchDispatchMode):
    """Records the bytes of the largest storage that is not one of the inputs'."""

    def __init__(self, *inputs):
        super().__init__()
        self.known = {x.untyped_storage().data_ptr() for x in inputs}
        self.num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in self.known:
                self.num_bytes = max(self.num_bytes, leaf.untyped_storage().nbytes())
        return result
