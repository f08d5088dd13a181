"""Campaigns and compute policies of compute_saving.py.

This module has no command.
"""

from __future__ import annotations

BY_20 = ["experiment=digits", "campaign.initial_size=20", "campaign.query_size=20"]
BY_100 = ["experiment=fashion_mnist", "campaign.initial_size=100", "campaign.query_size=100"]
CAMPAIGNS = {
    "digits": [*BY_20, "campaign.budget=300"],
    "digits_resnet18": [*BY_20, "campaign.budget=120", "model.backbone=resnet18_cifar"],
    "fashion_mnist": [*BY_100, "campaign.budget=2000"],
    "fashion_mnist_600": [*BY_100, "campaign.budget=600"],
    "fashion_mnist_pretrained": [
        *BY_100,
        "campaign.budget=300",
        "data.max_train=2000",
        "model.backbone=efficientnet_lite0",
        "model.weights=DEFAULT",
        "model.input_size=64",
    ],
}
SIZES = {  # sizes of the scored part of the pool
    "digits": "400",
    "digits_resnet18": "400",
    "fashion_mnist": "10000",
    "fashion_mnist_600": "10000",
    "fashion_mnist_pretrained": "1000",
}
CLASSIC = ["compute=classic"]
EFFORT = ["training.monitor=none", "training.updates_per_label=2", "training.max_updates=600"]
ALL_DIGITS = [*CLASSIC, "campaign.initial_size=1297", "campaign.budget=1297"]
VALIDATION = "campaign.validation_size=50"
SAVER = ["compute=saver"]


def variants(data: str) -> dict[str, list[str]]:
    """Return the overrides of each variant in addition to the shared ones."""
    size = SIZES[data]
    part = [f"candidates.size={size}"]
    if data == "fashion_mnist_pretrained":
        frozen = ["model.freeze_backbone=true"]
        return {
            "classic": CLASSIC,
            "classic + frozen backbone": [*CLASSIC, *frozen],
            "saver": [*SAVER, *part],
            "saver + frozen backbone": [*SAVER, *part, *frozen],
        }
    if data == "digits_resnet18":
        proxy = ["model.backbone=small_cnn", "model.final_backbone=resnet18_cifar"]
        return {
            "classic": CLASSIC,
            "classic + continue": [*CLASSIC, "training.warm_start=continue"],
            "classic + proxy": [*CLASSIC, *proxy],
            "saver": [*SAVER, *part],
            "all labels, once": ALL_DIGITS,
        }
    return {
        "classic": CLASSIC,
        "classic + continue": [*CLASSIC, "training.warm_start=continue"],
        "classic + shrink_perturb": [*CLASSIC, "training.warm_start=shrink_perturb"],
        "classic + stop on validation": [*CLASSIC, "training.monitor=val_loss", "training.patience=300", VALIDATION],
        "classic + updates by labels": [*CLASSIC, *EFFORT],
        "classic + average": [*CLASSIC, *EFFORT, "training.average=0.5"],
        "classic + growing queries": [*CLASSIC, "campaign.growth=1.2"],
        "classic + random part": [*CLASSIC, "candidates.kind=random", *part],
        "classic + last scores": [*CLASSIC, "candidates.kind=stale", *part],
        "saver": [*SAVER, *part],
        "saver, from scratch": [*SAVER, *part, "training.warm_start=scratch"],
        "saver, shrink_perturb": [*SAVER, *part, "training.warm_start=shrink_perturb"],
        "saver, last weights": [*SAVER, *part, "training.average=0"],
        "saver, to 99 % training accuracy": [
            *SAVER,
            *part,
            "training.monitor=train_accuracy",
            "training.updates_per_label=null",
            "training.max_updates=5000",
            "training.patience=5000",
            "training.average=0",
        ],
        "saver, equal queries": [*SAVER, *part, "campaign.growth=1.0"],
        "saver, whole pool": [*SAVER, "candidates.kind=all"],
        # full_data.py covers Fashion-MNIST, with the stopping rule that 60,000 labels need.
        **({"all labels, once": ALL_DIGITS} if data == "digits" else {}),
    }
