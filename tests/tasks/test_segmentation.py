"""Loss and metrics of masks, with ignored pixels."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.pretended_gpu import pretended_gpu
from torchmetrics.functional.classification import multiclass_jaccard_index

from dal.acquisition.registry import registry
from dal.errors import DalError
from dal.tasks import SEGMENTATION
from dal.tasks.mask_tally import IGNORED, MaskTally, sum_of_losses


def test_a_2x2_image_by_hand():
    """Pixels: right, wrong, ignored, right; of three classes, of which the third is absent."""
    predicted, mask = [[0, 1], [1, 1]], torch.tensor([[[0, 0], [255, 1]]], dtype=torch.uint8)
    logits = 2.0 * F.one_hot(torch.tensor([predicted]), 3).permute(0, 3, 1, 2).float()
    found = SEGMENTATION.metrics(logits, mask)
    right, wrong = -math.log(math.exp(2) / (math.exp(2) + 2)), -math.log(1 / (math.exp(2) + 2))
    assert found.confusion_matrix == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.iou == [0.5, 0.5, None] and found.miou == 0.5
    assert found.pixel_accuracy == pytest.approx(2 / 3)
    assert found.loss == pytest.approx((2 * right + wrong) / 3)
    assert float(SEGMENTATION.loss(logits, mask)) == pytest.approx(found.loss, rel=1e-6)


def test_a_class_that_is_predicted_but_absent_lowers_no_mean():
    logits = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]]])
    found = SEGMENTATION.metrics(logits, torch.tensor([[[0, 0]]], dtype=torch.uint8))
    assert found.iou == [0.5, None, None] and found.miou == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_miou_is_that_of_torchmetrics_and_batches_do_not_matter(seed):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 4, 5, 7, generator=g)
    masks = torch.randint(0, 5, (6, 5, 7), generator=g).to(torch.uint8)
    masks[masks == 4] = 255
    expected = multiclass_jaccard_index(logits, masks.long(), 4, average="macro", ignore_index=255)
    whole = SEGMENTATION.metrics(logits, masks)
    assert whole.miou == pytest.approx(float(expected), abs=1e-6)
    assert whole.loss == pytest.approx(
        float(F.cross_entropy(logits.double(), masks.long(), ignore_index=255)), rel=1e-12
    )
    tally = MaskTally(4)
    parts = [tally.update(logits[i], masks[i]) for i in (slice(0, 1), slice(1, 4), slice(4, 6))]
    assert tally.metrics(*(torch.cat([part[name] for part in parts]) for name in ("losses", "counts"))) == whole


def test_logits_of_a_coarse_grid_are_upsampled():
    logits = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    masks = torch.ones(2, 8, 8, dtype=torch.uint8)
    large = F.interpolate(logits, size=(8, 8), mode="bilinear", align_corners=False)
    assert SEGMENTATION.metrics(logits, masks) == SEGMENTATION.metrics(large, masks)
    assert torch.equal(SEGMENTATION.loss(logits, masks), SEGMENTATION.loss(large, masks))


def test_ignored_pixels_alone_train_nothing_and_cannot_be_measured():
    logits, mask = torch.randn(1, 3, 2, 2, requires_grad=True), torch.full((1, 2, 2), 255, dtype=torch.uint8)
    loss = SEGMENTATION.loss(logits, mask)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
    with pytest.raises(DalError, match=r"^masks: expected a pixel of a class, got only ignored pixels\.$"):
        SEGMENTATION.metrics(logits.detach(), mask)


REFUSED = {"badge", "bait", "alfa_mix", "dropquery", "batchbald", "epig"}


@pytest.mark.parametrize("name", sorted(registry()))
def test_functions_whose_summary_cannot_be_pooled_are_refused(name):
    function = registry()[name]()
    if name not in REFUSED:
        SEGMENTATION.check_acquisition(function)
        return
    with pytest.raises(DalError) as error:
        SEGMENTATION.check_acquisition(function)
    assert str(error.value).startswith(
        "acquisition: expected a function whose scores or features of pixels can be pooled"
    )
    assert str(error.value).endswith(f"with segmentation data, got {name!r}.")


@pytest.mark.parametrize("answer", [1, -1, "0"])
def test_an_answer_only_says_that_the_mask_is_known(answer):
    assert SEGMENTATION.encode([0, 0], 3).tolist() == [0, 0]
    with pytest.raises(DalError, match="labels: expected"):
        SEGMENTATION.encode([0, answer], 3)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=["cpu", "cuda", "pretended"])
def device(request, monkeypatch):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    with pretended_gpu(monkeypatch) if request.param == "pretended" else nullcontext():
        yield "cpu" if request.param == "cpu" else "cuda"


def test_losses_of_pixels_add_up_to_the_same_bits_each_time(device, deterministic):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, 16, 16, generator=generator, dtype=torch.float64)
    masks = torch.randint(0, 6, (4, 32, 32), generator=generator, dtype=torch.uint8)
    masks[masks == 5] = IGNORED
    weights = torch.tensor([0.2, 1.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    rows = F.interpolate(logits, size=(32, 32), mode="bilinear").permute(0, 2, 3, 1).log_softmax(dim=-1)
    expected = -sum(
        float(rows[place][label]) * float(weights[label])
        for place, label in zip(np.ndindex(4, 32, 32), masks.flatten().tolist(), strict=True)
        if label != IGNORED
    )
    found = []
    for _ in range(3):
        x = logits.to(device).requires_grad_()
        loss = sum_of_losses(x, masks.to(device), weights.to(device))
        loss.backward()
        found.append((float(loss), x.grad))
    assert found[0][0] == pytest.approx(expected, rel=1e-12)
    assert all(loss == found[0][0] and torch.equal(grad, found[0][1]) for loss, grad in found)
