import numpy as np
import pytest
import torch
from helpers.passes import predict

from dal.data.images import TensorSource, known_indices
from dal.errors import DalError, NonFiniteError
from dal.models.adapt import as_adapted
from dal.models.backbones import build_backbone
from dal.models.classifier import Classifier
from dal.tasks import CLASSIFICATION


def reference(logits, labels):
    """Slow and obvious, in NumPy float64."""
    logits, labels = logits.double().numpy(), labels.numpy()
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = shifted / shifted.sum(axis=1, keepdims=True)
    count, classes = logits.shape
    confusion = np.zeros((classes, classes), dtype=int)
    nll = 0.0
    for n in range(count):
        confusion[labels[n], int(probs[n].argmax())] += 1
        nll -= (logits[n, labels[n]] - logits[n].max()) - np.log(shifted[n].sum())
    recall = [confusion[c, c] / confusion[c].sum() if confusion[c].sum() else None for c in range(classes)]
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == labels
    ece = 0.0
    for b in range(15):
        inside = [n for n in range(count) if b / 15 < confidence[n] <= (b + 1) / 15]
        if inside:
            ece += len(inside) / count * abs(correct[inside].mean() - confidence[inside].mean())
    known = [r for r in recall if r is not None]
    return {
        "test_accuracy": float(correct.mean()),
        "test_loss": nll / count,
        "test_balanced_accuracy": sum(known) / len(known),
        "test_calibration_error": ece,
        "test_recall": recall,
        "test_confusion_matrix": confusion.tolist(),
    }


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 60.0])
@pytest.mark.parametrize("absent", [None, 2])
def test_metrics_are_those_of_the_definition(scale, absent):
    generator = torch.Generator().manual_seed(int(scale * 10))
    logits = torch.randn(200, 5, generator=generator) * scale
    labels = torch.randint(0, 5, (200,), generator=generator)
    # Half of the points are easy, so that neither accuracy nor confidence is that of chance.
    logits[:100].scatter_add_(1, labels[:100, None], torch.full((100, 1), 3 * scale))
    if absent is not None:
        labels[labels == absent] = 0
    row = CLASSIFICATION.metrics(logits, labels).row("test")
    expected = reference(logits, labels)
    assert row.keys() == expected.keys()
    for key in ("test_accuracy", "test_loss", "test_balanced_accuracy", "test_calibration_error"):
        assert row[key] == pytest.approx(expected[key], abs=1e-6), key
    assert row["test_confusion_matrix"] == expected["test_confusion_matrix"]
    assert [r is None for r in row["test_recall"]] == [c == absent for c in range(5)]
    assert [r or 0 for r in row["test_recall"]] == pytest.approx([r or 0 for r in expected["test_recall"]])


@pytest.mark.parametrize("shift", [0.0, 0.5, 100.0])
def test_logits_between_0_and_1_are_logits_all_the_same(shift):
    """An untrained network's logits may look like probabilities; and a constant added to them changes nothing."""
    logits = torch.tensor([[0.9, 0.1], [0.2, 0.4], [0.3, 0.1]])
    labels = torch.tensor([0, 0, 0])
    row = CLASSIFICATION.metrics(logits + shift, labels).row("test")
    expected = reference(logits, labels)
    assert row["test_calibration_error"] == pytest.approx(expected["test_calibration_error"], abs=1e-5)
    assert row["test_loss"] == pytest.approx(expected["test_loss"], abs=1e-5)


def test_certain_predictions_share_the_last_bin():
    """A confidence of exactly 1 belongs to the bin that ends there."""
    logits = torch.tensor([[2000.0, 0.0], [3.5, 0.0]])
    labels = torch.tensor([1, 0])
    assert CLASSIFICATION.metrics(logits, labels).calibration_error == pytest.approx(
        reference(logits, labels)["test_calibration_error"], abs=1e-6
    )


def test_rows_of_the_confusion_matrix_are_true_classes():
    logits = torch.tensor([[0.0, 9.0, 0.0], [0.0, 9.0, 0.0], [9.0, 0.0, 0.0]])
    assert CLASSIFICATION.metrics(logits, torch.tensor([0, 0, 2])).confusion_matrix == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


@pytest.fixture
def model():
    return as_adapted(Classifier(build_backbone("small_cnn", (1, 8, 8)), 3))


def test_predict_gives_logits_of_the_plain_view_in_order(model, shared):
    data = shared.make_images(20)
    indices = torch.tensor([3, 19, 0])
    logits = predict(model, data, indices)
    with torch.no_grad():
        expected = model.module.eval()(data.plain([3, 19, 0]))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert logits.dtype == torch.float32


def test_predict_names_the_image_that_is_not_finite(model, shared):
    class Broken(TensorSource):
        def batch(self, indices):
            images = super().batch(indices).float()
            images[[place for place, index in enumerate(indices) if index == 7]] = torch.nan
            return images

    data = shared.make_images(20, source=Broken(torch.zeros(20, 1, 8, 8, dtype=torch.uint8)))
    with pytest.raises(NonFiniteError, match=r"for 'image-007' \(index 7\)\.$"):
        predict(model, data, torch.arange(20))


def test_predict_refuses_no_points_at_all(model, shared):
    with pytest.raises(DalError, match=r"^test: expected at least one labeled point, got 0\.$"):
        predict(model, shared.make_images(20), torch.arange(0))


def test_known_indices_leaves_hidden_labels_out(shared):
    data = shared.make_images(5, labels=torch.tensor([0, -1, 2, -1, 1]))
    assert known_indices(data).tolist() == [0, 2, 4]
