"""Training and scoring on a GPU, with one that is pretended: no operation mixes devices, and few values are read back.

Its arithmetic is that of the CPU, so picks are equal. Losses can differ in the last digits, because images and weights
have another layout.
"""

import numpy as np
import pytest
import torch
from helpers.pretended_gpu import CUDA, OnGpu, pretended_gpu
from helpers.toy_masks import quick, tiny_model, toy_mask_data
from helpers.toys import toy_data, toy_model

from dal import ActiveLearner
from dal.acquisition import BALD, CoreSet, registry
from dal.acquisition.search.numbers import check_finite
from dal.data import ImageData, TensorSource
from dal.errors import NonFiniteError
from dal.models import Classifier, Segmenter
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.models.backbones.segmentation_net import SegmentationNet
from dal.scoring import model_pass, select
from dal.scoring.config import ScoringConfig
from dal.scoring.model_pass import ModelPass

pytestmark = [
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@pytest.fixture
def gpu(monkeypatch):
    with pretended_gpu(monkeypatch) as mode:
        yield mode


@pytest.mark.parametrize(
    "wrong",
    [
        lambda here, there: here + there,
        lambda here, there: torch.cat([here, there]),
        lambda here, there: torch.stack([here[0], there[0]]),
        lambda here, there: here[there.long()],
        lambda here, there: there.index_fill_(0, here.long(), 1),
        lambda here, there: there.__setitem__(here > 5, here),
        lambda here, there: torch.nn.Linear(2, 1)(there),
    ],
)
def test_mixed_devices_are_an_error_on_the_pretended_gpu(gpu, wrong):
    with pytest.raises(RuntimeError, match="on the same device"):
        wrong(torch.ones(2), torch.ones(2, device="cuda"))


def test_the_pretended_gpu_has_memory_of_its_own_and_counts_reads(gpu):
    here = torch.zeros(3)
    there = here.to("cuda")
    there += torch.tensor(1.0)
    there[torch.tensor([0])] = 5
    assert type(there) is OnGpu and there.device == CUDA and there.is_cuda and there.double().device == CUDA
    assert not here.any() and not here.is_cuda and gpu.reads.total() == 0
    assert there.cpu().tolist() == [5, 1, 1] and type(there.cpu()) is torch.Tensor and float(there.max()) == 5
    assert dict(+gpu.reads) == {"cpu": 2, "__float__": 1}
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(there)
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, device="cuda", generator=torch.Generator())


def segmenter():
    return Segmenter(SegmentationNet(in_channels=1), 3)


TWO = {"max_updates": 2, "check_every": 2}


def played(model, data, function, num_labels, accelerator, **training):
    torch.manual_seed(0)
    options = {"training": quick(**training), "trainer": {"accelerator": accelerator}, "seed": 1}
    learner = ActiveLearner(model, data, function, **options)
    learner.tell(range(num_labels), data.labels[:num_labels].tolist())
    return learner.fit(), list(learner.ask(5))


@pytest.mark.parametrize(
    ("model", "data", "function", "num_labels"),
    [
        (toy_model, toy_data, BALD(), 20),
        (segmenter, lambda: toy_mask_data(size=16, region_size=8), CoreSet(), 24),
        (tiny_model, lambda: toy_mask_data(region_size=4), BALD(), 24),
    ],
    ids=["classifier", "segmenter", "own module for masks"],
)
def test_a_round_on_a_gpu_is_that_on_the_cpu(model, data, function, num_labels, monkeypatch):
    expected, picks = played(model, data(), function, num_labels, "cpu", **TWO)
    with pretended_gpu(monkeypatch) as gpu:
        found, picks_of_gpu = played(model, data(), function, num_labels, "auto", **TWO)
    assert picks_of_gpu == picks and found.updates == expected.updates
    for ours, theirs in zip(found.history, expected.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert gpu.reads.total() > 0


def test_a_gpu_waits_at_most_once_at_each_update(monkeypatch):
    reads = []
    for updates in (2, 7):
        with pretended_gpu(monkeypatch) as gpu:
            limits = {"monitor": "none", "max_updates": updates, "check_every": 100}
            played(toy_model, toy_data(), BALD(), 20, "gpu", **limits)
        reads.append(gpu.reads.total())
    assert reads[1] - reads[0] <= 5  # the loss, which must be finite


@pytest.mark.parametrize(("accelerator", "pins"), [("cpu", False), ("gpu", True)])
def test_only_a_run_on_the_gpu_pins_batches(accelerator, pins, monkeypatch):
    seen, plain_batches = [], model_pass.plain_batches

    def watched(*args, **options):
        seen.append(plain_batches(*args, **options))
        return seen[-1]

    monkeypatch.setattr(model_pass, "plain_batches", watched)
    with pretended_gpu(monkeypatch) as gpu:
        played(toy_model, toy_data(), BALD(), 20, accelerator, **TWO)
    assert seen and {loader.pin_memory for loader in seen} == {pins}
    assert (gpu.reads.total() > 0) == pins


@pytest.mark.parametrize(("accelerator", "crosses"), [("cpu", torch.float32), ("cuda", torch.uint8)])
def test_a_gpu_gets_the_bytes_of_images_and_normalizes_them_to_the_same_bits(accelerator, crosses, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (19, 3, 8, 8), generator=generator, dtype=torch.uint8)
    ids, labels = [f"{i:02}" for i in range(19)], torch.arange(19) % 2
    statistics = {"mean": [0.1, 0.485, 0.9], "std": [0.229, 0.3, 0.111]}
    data = ImageData("colored", TensorSource(pixels), ids, labels, ["a", "b"], **statistics)
    seen, to_device = [], model_pass.to_device

    def watched(tiles, device):
        return to_device(((seen.append(images.dtype) or images, count) for images, count in tiles), device)

    monkeypatch.setattr(model_pass, "to_device", watched)
    model = as_adapted(Classifier(SmallCNN(3, (8, 8)), num_classes=2))
    with pretended_gpu(monkeypatch):
        passes = ModelPass(model, ScoringConfig(tile_size=4, batch_size=8), torch.device(accelerator))
        found = passes.run(data, torch.arange(19), lambda view, x: {"pixels": x.flatten(1)})["pixels"]
    mean, std = (np.array(statistics[name], np.float32)[:, None, None] * np.float32(255) for name in ("mean", "std"))
    expected = (pixels.numpy().astype(np.float32) - mean) / std
    assert np.array_equal(found.numpy(), expected.reshape(19, -1)) and np.array_equal(data.plain(range(19)), expected)
    assert set(seen) == {crosses}


@pytest.mark.parametrize("name", ["margin", "bald", "badge", "coreset", "egl"])
def test_tiles_do_not_wait_for_the_gpu(name, monkeypatch):
    function, reads = registry()[name](), []
    data = toy_data()
    for tile_size in (10, 2):
        with pretended_gpu(monkeypatch) as gpu:
            passes = ModelPass(as_adapted(toy_model()), ScoringConfig(tile_size=tile_size), CUDA)
            select.summarize_points(passes, function, (data, torch.arange(90)))
        reads.append(gpu.reads)
    assert reads[0] == reads[1]


@pytest.mark.parametrize("place", [0, 5, 37, 88])
def test_the_image_without_a_finite_number_is_named_also_after_later_tiles(place, monkeypatch):
    data = toy_data()
    told = []
    for device in ("cpu", "cuda"):
        with pretended_gpu(monkeypatch):
            passes = ModelPass(as_adapted(toy_model()), ScoringConfig(tile_size=4), torch.device(device))

            def reduce(view, x, device=device):
                hit = (x.flatten(1) == data.plain([place])[0].flatten().to(device)).all(dim=1)
                values = torch.stack([x.sum(dim=(1, 2, 3)), torch.where(hit, torch.nan, 1.0).to(device)], dim=1)
                check_finite("values", values)
                return {"scores": torch.zeros(len(x), 1, device=device)}

            with pytest.raises(NonFiniteError, match=rf"NaN or infinity for 'toy-{place:03d}'") as error:
                passes.run(data, torch.arange(90), reduce)
        told.append((str(error.value), str(error.value.__cause__)))
    assert told[0] == told[1]
