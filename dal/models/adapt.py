"""Adapts a user's LightningModule for training and scoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dal.errors import DalError, bad_value, unknown_choice
from dal.models.backbones.base import last_linear
from dal.models.classifier import Classifier
from dal.models.compiled import CompiledPasses
from dal.models.ensemble import DeepEnsemble
from dal.models.mc_dropout import DropoutDraws, check_dropout
from dal.runtime.lightning_package import is_lightning_module
from dal.runtime.memory import out_of_memory
from dal.runtime.precision import full_precision
from dal.runtime.seeding import isolated_rng
from dal.tasks import Task

CHECKED_DRAWS = 4
"""Draws whose plain passes the wide one is compared with."""


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """A LightningModule and the name of its last layer, whose output is logits. Made by adapt()."""

    module: pl.LightningModule
    head: str

    @property
    def head_layer(self) -> nn.Module:
        return self.module.get_submodule(self.head)


def adapt(module: pl.LightningModule, head: str) -> AdaptedModel:
    """A user's own LightningModule, with its own training_step, as a model that dal can train and score.

    ``head`` names the layer that ends in logits, for example ``"model.fc"``: its input (B, D) are the features and its
    output (B, C) the logits, whatever forward() does with them afterwards. ``module(x)`` must pass through it.

    Raises DalError where the module has no such layer or cannot be trained.

    >>> class Mine(pl.LightningModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    ...     def forward(self, x):
    ...         return self.model(x).softmax(dim=1)
    ...     def training_step(self, batch, batch_idx):
    ...         return nn.functional.cross_entropy(self.model(batch[0]), batch[1])
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), lr=0.1)
    >>> adapt(Mine(), head="model.1").head_layer
    Linear(in_features=64, out_features=3, bias=True)
    """
    if not is_lightning_module(module):
        raise bad_value("module", "a LightningModule", type(module).__name__)
    names = [name for name, _ in module.named_modules() if name]
    if head not in names:
        if (last := last_linear(module)) is not None:
            raise bad_value("head", f"the name of the last layer, perhaps {last[0]!r}", head)
        raise unknown_choice("head", names, head)
    return AdaptedModel(module, head)


def as_adapted(model: AdaptedModel | Classifier) -> AdaptedModel:
    """A Classifier needs no adapt(): its head is known."""
    if isinstance(model, AdaptedModel):
        return model
    if isinstance(model, Classifier):
        return AdaptedModel(model, "head")
    raise bad_value("model", "a Classifier or adapt(module, head=...)", type(model).__name__)


def check_outputs(model: AdaptedModel, num_classes: int, task: Task) -> None:
    """Raise DalError unless the last layer has one output for each class, and a Classifier has this task."""
    module = model.module
    if isinstance(module, Classifier) and module.task.name != task.name:
        raise bad_value("model", f"Classifier(..., task={task.name.upper()}), as the data", module.task.name)
    weight = getattr(model.head_layer, "weight", None)
    if isinstance(weight, Tensor) and weight.shape[0] != num_classes:
        expected = f"a last layer with {num_classes} outputs, one for each class of the data"
        raise bad_value("model", expected, f"{weight.shape[0]} outputs at {model.head!r}")


def check_draws(module: pl.LightningModule, num_draws: int | None = None) -> None:
    """Raise DalError, saying what to change, unless the network has so many draws: members of an ensemble, or dropout,
    which has any number."""
    if not isinstance(module, DeepEnsemble):
        check_dropout(module)
    elif num_draws not in (None, module.num_members):
        raise bad_value("num_draws", f"{module.num_members}, as the ensemble has members", num_draws)


class ScoringModel:
    """The PoolModel that acquisition functions see. Made by scoring_view().

    ``compiled`` are torch.compile's passes for tiles of one size; None runs every pass as it is written.
    """

    def __init__(self, adapted: AdaptedModel, seed: int) -> None:
        self.module, self.head_layer, self.seed = adapted.module, adapted.head_layer, seed
        self.head_name = adapted.head
        self.compiled: CompiledPasses | None = None
        self._draws: DropoutDraws | None = None
        self._wide_input = False

    @property
    def is_wide(self) -> bool:
        """Whether what runs now runs for each of several draws."""
        return self._draws is not None and self._draws.is_wide

    def features(self, x: Tensor) -> Tensor:
        features, _ = self._plain(x)
        return features

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head_layer(features)
        return logits.float()

    def logits(self, x: Tensor) -> Tensor:
        """(B, ...) images to (B, C) logits, float32."""
        _, logits = self._plain(x)
        return logits.float()

    def mc_log_probs(self, x: Tensor, num_draws: int) -> Tensor:
        """(B, ...) images to (B, K, C), nats. The draws of an ensemble are its members."""
        if isinstance(self.module, DeepEnsemble):
            check_draws(self.module, num_draws)
            members = self.module.member_log_probs
            return members(x) if self.compiled is None else self.compiled("members", members, x)
        if self._draws is None or self._draws.num_draws != num_draws:
            # Two images at least: one would broadcast against its own draws, and could not show that a batch mixes.
            few = x[:3] if len(x) > 1 else torch.cat([x, x.flip(-1)])
            # In full precision: half of it may round draws to the same numbers, or one pass to others than K passes.
            with full_precision(x.device):
                self._draws = self._set_up(few, num_draws)
        draws = self._draws

        def run(tile: Tensor) -> Tensor:
            return self._wide_pass(draws, tile, self._wide_input)

        return run(x) if self.compiled is None else self.compiled(f"{num_draws} draws", run, x)

    def _plain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._forward(x) if self.compiled is None else self.compiled("plain", self._forward, x)

    def _logits(self, x: Tensor) -> Tensor:
        return self._forward(x)[1].float()

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[tuple[Tensor, Tensor]] = []
        handle = self.head_layer.register_forward_hook(lambda m, args, out: seen.append((args[0], out)))
        try:
            self.module(x)
        except TypeError as error:
            raise DalError(f"model: expected forward(x) to take a batch of images alone, got: {error}.") from error
        finally:
            handle.remove()
        if len(seen) != 1:
            raise DalError(f"head: expected {self.head_name!r} to run once in forward(), got {len(seen)} runs.")
        features, logits = seen[0]
        if features.ndim != 2 or logits.ndim != 2:
            shapes = f"{tuple(features.shape)} to {tuple(logits.shape)}"
            raise bad_value("head", f"a layer from (B, D) features to (B, C) logits at {self.head_name!r}", shapes)
        return features, logits

    def _wide_pass(self, draws: DropoutDraws, x: Tensor, wide_input: bool) -> Tensor:
        if wide_input:
            with draws.wide_input():
                logits = self._logits(x.repeat_interleave(draws.num_draws, dim=0))
        else:
            with draws.widening():
                logits = self._logits(x)
        return logits.log_softmax(dim=1).view(len(x), draws.num_draws, -1)

    def _set_up(self, x: Tensor, num_draws: int) -> DropoutDraws:
        """Choose where to widen, having checked on a few images that one wide pass equals plain ones, draw by draw."""
        draws = DropoutDraws(self.module, num_draws, self.seed)

        def plain(k: int) -> Tensor:
            with draws.single(k):
                return self._logits(x).log_softmax(dim=1)

        # A wide pass that is wrong is wrong for most draws, and K passes of a large network cost more than a tile.
        checked = sorted({*range(min(num_draws, CHECKED_DRAWS - 1)), num_draws - 1})
        references = {k: plain(k) for k in checked}
        # all() stops at the first that differs, which is nearly always one that is there already.
        others = (references[k] if k in references else plain(k) for k in range(1, num_draws))
        if num_draws > 1 and all(torch.equal(references[0], other) for other in others):
            raise DalError(
                "model: expected the dropout draws to differ, got the same output from every draw; put a dropout layer "
                "(nn.Dropout, p > 0) on the way to the last layer, or see whether the features have all become zero."
            )
        for self._wide_input in (False, True):
            try:
                wide = self._wide_pass(draws, x, self._wide_input)
            except (RuntimeError, DalError) as error:
                if out_of_memory(error):
                    raise
                # A skip connection round the first dropout meets two batch sizes: widen at the input instead.
                continue
            reference = torch.stack([references[k] for k in checked], dim=1)
            if torch.allclose(wide[:, checked], reference, rtol=1e-2, atol=1e-3, equal_nan=True):
                return draws
        raise DalError(
            "model: expected K dropout draws in one wide batch to equal K passes, got other numbers; forward() must "
            "treat the images of a batch independently, with the batch as first dimension of every dropout layer."
        )


@contextmanager
def scoring_view(adapted: AdaptedModel, seed: int = 0, device: torch.device | None = None) -> Iterator[ScoringModel]:
    """The model in eval mode, without gradients, on a device. On leaving, train/eval flags, the device and the global
    random state are as they were; buffers were never written."""
    module = adapted.module
    modes = [(m, m.training) for m in module.modules()]
    home = next(iter(module.parameters())).device
    try:
        # Before inference mode, which would make tensors of the copies that can never be trained again.
        if device is not None and device != home:
            module.to(device)
        with isolated_rng(seed, "scoring"), torch.inference_mode():
            module.eval()
            yield ScoringModel(adapted, seed)
    finally:
        for m, training in modes:
            m.training = training
        if device is not None and device != home:
            module.to(home)
