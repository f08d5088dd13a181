"""Options of Lightning's Trainer with a default in dal."""

from __future__ import annotations

from typing import Any

TRAINER_OPTIONS: dict[str, tuple[Any, str]] = {
    "accelerator": ("auto", "Hardware to train and score on: auto, cpu, gpu or another that Lightning supports."),
    "devices": (1, "Number of devices of one machine to train on, each with a process of its own."),
    "num_nodes": (1, "Number of machines to train on."),
    "strategy": ("auto", "How processes share training, such as auto or ddp."),
    "precision": ("32-true", "Precision of training, such as 32-true, bf16-mixed or 16-mixed."),
    "gradient_clip_val": (None, "Norm to which gradients are clipped; null clips none."),
    "accumulate_grad_batches": (1, "Batches whose gradients are summed for one update."),
    "sync_batchnorm": (False, "Whether batch normalization uses the statistics of all devices."),
    "deterministic": (
        "warn",
        "Whether PyTorch uses deterministic algorithms: true, false, or warn (warns where it has none).",
    ),
}
"""Name to default and sentence. Any other option is added with +trainer.NAME=VALUE."""


def trainer_defaults() -> dict[str, Any]:
    """The options and their defaults.

    >>> trainer_defaults()["precision"]
    '32-true'
    """
    return {name: default for name, (default, _) in TRAINER_OPTIONS.items()}
