import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from dal.data import from_dataset
from dal.data.augment import HorizontalFlip
from dal.data.augment_masks import TransformPair
from dal.errors import DalError

IMAGES = torch.randint(256, (6, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MASKS = torch.randint(3, (6, 4, 5), generator=torch.Generator().manual_seed(1))


class Street(torch.utils.data.Dataset):
    def __init__(self, masks=MASKS, transform=None):
        self.masks, self.transform = masks, transform

    def __len__(self):
        return 6

    def __getitem__(self, index):
        image, mask = tv_tensors.Image(IMAGES[index]), self.masks[index]
        return (image, mask) if self.transform is None else self.transform(image, tv_tensors.Mask(mask))


def segmentation(dataset, **options):
    return from_dataset(dataset, task="segmentation", num_classes=3, **options)


def refused(dataset, **options):
    with pytest.raises(DalError) as error:
        segmentation(dataset, **options)
    return str(error.value)


@pytest.mark.parametrize(
    "kind",
    [
        lambda mask: mask,
        lambda mask: mask.byte().unsqueeze(0),
        lambda mask: mask.numpy(),
        lambda mask: Image.fromarray(mask.byte().numpy()),
        lambda mask: Image.fromarray(mask.numpy().astype(np.uint16)),
        lambda mask: tv_tensors.Mask(mask),
    ],
    ids=["int64", "channel", "numpy", "pil", "16 bits", "tv_tensor"],
)
def test_kinds_of_masks(kind):
    data = segmentation(Street([kind(mask) for mask in MASKS]))
    assert torch.equal(data.masks.batch([4, 0]), MASKS[[4, 0]].byte())
    assert data.task.name == "segmentation" and data.labels.tolist() == [0] * 6
    assert torch.equal(data.source.batch([1]), IMAGES[[1]])


def test_none_and_masks_that_are_ignored_everywhere_are_unlabeled():
    data = segmentation(Street([None, MASKS[1], torch.full((4, 5), 255), *MASKS[3:]]))
    assert data.labels.tolist() == [-1, 0, -1, 0, 0, 0]
    assert bool((data.masks.batch([0, 2]) == 255).all())


def test_masks_can_be_given_for_all_points():
    data = segmentation(Street(), labels=[None, *MASKS.flip(-1)[1:]])
    assert data.labels.tolist() == [-1, 0, 0, 0, 0, 0]
    assert torch.equal(data.masks.batch([2])[0], MASKS[2].flip(-1).byte())
    assert torch.equal(segmentation(Street(), labels=MASKS).masks.batch([5]), MASKS[[5]].byte())


def test_dicts_subsets_and_ids():
    whole = [{"pixels": image, "segmentation": mask} for image, mask in zip(IMAGES, MASKS, strict=True)]
    part = torch.utils.data.Subset(whole, [5, 2])
    data = segmentation(part, image="pixels", label="segmentation", ids=["x", "y"])
    assert list(data.ids) == ["x", "y"] and torch.equal(data.masks.batch([0]), MASKS[[5]].byte())


def test_large_sets_are_read_again(monkeypatch):
    monkeypatch.setattr("dal.data.sources.torch_masks.MEMORY_LIMIT_BYTES", 0)
    data = segmentation(Street())
    state = torch.get_rng_state()
    assert torch.equal(data.subset([3, 1]).masks.batch([0, 1]), MASKS[[3, 1]].byte())
    assert torch.equal(state, torch.get_rng_state())


def test_augmentation_moves_masks_too():
    for flip in (HorizontalFlip(1.0), TransformPair(v2.RandomHorizontalFlip(1.0))):
        data = segmentation(Street(), augmentation=flip, mean=[0.0], std=[1 / 255])
        images, masks = data.augmented_pairs([2], data.masks.batch([2]), torch.Generator())
        assert torch.equal(images.byte(), IMAGES[[2]].flip(-1)) and torch.equal(masks, MASKS[[2]].flip(-1).byte())


def test_classification_can_be_augmented_as_well():
    data = from_dataset(
        torch.utils.data.TensorDataset(IMAGES, torch.zeros(6).long()), num_classes=2, augmentation=HorizontalFlip(1.0)
    )
    assert torch.equal(data.augmented([0], torch.Generator()), data.plain([0]).flip(-1))


@pytest.mark.parametrize(
    ("mask", "got"),
    [
        (torch.zeros(5, 4).long(), "expected a mask of 5 x 4 pixels like the image, got 4 x 5."),
        (torch.full((4, 5), 3), "expected class numbers from 0 to 2, or 255 for ignored pixels, got 3 at x=0, y=0."),
        (torch.full((4, 5), -1), "expected class numbers from 0 to 2, or 255 for ignored pixels, got -1 at x=0, y=0."),
        (
            torch.zeros(4, 5),
            "expected a mask of integers (ToTensor divides masks by 255; PILToTensor keeps class numbers), got "
            "float32.",
        ),
        (Image.new("RGB", (5, 4)), "expected a mask in gray or with a palette, got mode RGB."),
        (torch.zeros(3, 4, 5).long(), "expected a mask (H, W) or (1, H, W), got (3, 4, 5)."),
        (7, "expected a mask: a tensor, a PIL image, a NumPy array, or None, got 'int'."),
    ],
    ids=["size", "class", "negative", "float", "color", "channels", "label"],
)
def test_a_mask_that_does_not_fit_is_refused_by_its_position(mask, got):
    assert refused(Street([*MASKS[:4], mask, MASKS[5]])) == f"dataset[4]: {got}"
    assert refused(Street(), labels=[*MASKS[:4], mask, MASKS[5]]) == f"labels[4]: {got}"


def test_what_does_not_fit_the_task_is_refused():
    assert refused(Street([None] * 6)) == "dataset: expected a mask with pixels other than 255, got none."
    assert refused(Street(), labels=MASKS[:2]) == "labels: expected one mask for each of the 6 points, got 2 masks."
    assert refused(Street(), plain=Street()) == (
        "plain: expected none with task='segmentation' (pass points without random transforms, and augmentation=), "
        "got 'Street'."
    )
    assert refused(Street(transform=v2.RandomHorizontalFlip())).endswith(
        "Pass points without random transforms, and augmentation=, which moves the masks too."
    )
    with pytest.raises(DalError, match=r"^task: expected one of classification, segmentation, got 'detection'\.$"):
        from_dataset(Street(), num_classes=3, task="detection")
