from collections import Counter

import pytest
import torch

from dal.data.augment import RandomCrop
from dal.data.loaders import RoundData, TrainingStream, plain_batches


def indices(batches):
    return [index for batch in batches for _, index in batch]


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (10, 5), (7, 3), (64, 64), (3, 64), (2, 1), (1, 64)])
@pytest.mark.parametrize("min_batches", [1, 11])
def test_batches_are_equal_and_passes_are_permutations(count, batch_size, min_batches):
    points = [100 + 3 * i for i in range(count)]
    stream = TrainingStream(points, batch_size, seed=0, round=1, min_batches=min_batches)
    size = max(2, min(batch_size, count))
    seen = []
    for _ in range(5):
        batches = list(stream)
        assert len(batches) == len(stream) == max(min_batches, -(-count // size))
        assert {len(batch) for batch in batches} == {size}
        seen += batches
    # No epoch begins anew: whole passes follow one another through all of them.
    assert [position for batch in seen for position, _ in batch] == list(range(len(seen) * size))
    order = indices(seen)
    whole = [tuple(order[start : start + count]) for start in range(0, len(order) - count + 1, count)]
    assert all(sorted(one) == points for one in whole)
    if count > 6:
        assert len(set(whole)) == len(whole)


def test_the_order_depends_on_seed_and_round_alone():
    def order(seed, round):
        return indices(TrainingStream(range(30), 8, seed, round))

    torch.manual_seed(5)
    first = order(0, 0)
    torch.rand(7)
    assert order(0, 0) == first
    assert order(1, 0) != first != order(0, 1)


@pytest.mark.parametrize(("batch_size", "num_ranks"), [(8, 2), (8, 3), (1, 4), (64, 4)])
def test_ranks_share_every_batch(batch_size, num_ranks):
    streams = [TrainingStream(range(13), batch_size, 0, 0, 5, rank, num_ranks) for rank in range(num_ranks)]
    one = TrainingStream(range(13), max(batch_size, num_ranks), 0, 0, 5)
    for _ in range(2):
        for parts, whole in zip(zip(*streams, strict=True), one, strict=True):
            assert all(parts)
            assert Counter(key for part in parts for key in part) == Counter(whole)


def loaded(data, labels, num_workers, epochs=2, seed=0, round=0):
    points = torch.arange(5, 25)
    module = RoundData(
        data,
        (points, labels),
        None,
        batch_size=8,
        min_batches=1,
        seed=seed,
        round=round,
        num_workers=num_workers,
    )
    loader = module.train_dataloader()
    return [batch for _ in range(epochs) for batch in loader]


def test_augmentation_is_the_same_with_any_number_of_workers(shared):
    data = shared.make_images(30, augmentation=RandomCrop(2))
    labels = data.labels[5:25]
    alone, again, helped = (loaded(data, labels, workers) for workers in (0, 0, 2))
    for other in (again, helped):
        assert all(torch.equal(a, b) for pair in zip(alone, other, strict=True) for a, b in zip(*pair, strict=True))
    # Drawn anew in each epoch, seed and round.
    images = [alone[0][0]] + [loaded(data, labels, 0, 1, *key)[0][0] for key in ((1, 0), (0, 1))]
    assert not any(torch.equal(images[0], other) for other in images[1:])


def test_the_same_image_is_augmented_anew_in_each_pass(shared):
    def noise(images, g):
        return torch.randint(255, images.shape, dtype=images.dtype, generator=g)

    data = shared.make_images(30, augmentation=noise)
    batches = loaded(data, data.labels[5:25], 0, epochs=4)
    images = torch.cat([x for x, _ in batches]).flatten(1)
    assert len(images.unique(dim=0)) == len(images)


def test_training_sees_the_told_labels_and_not_the_data_sets(shared):
    data = shared.make_images(30, labels=torch.full((30,), -1))
    plain = shared.make_images(30)
    told = (torch.arange(20) * 7) % 3
    for x, y in loaded(data, told, 0):
        for image, label in zip(x, y, strict=True):
            (index,) = (i for i in range(30) if torch.equal(plain.plain([i])[0], image))
            assert label == told[index - 5]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_plain_batches_are_in_order_and_never_augmented(shared, num_workers):
    def augmentation(images, generator):
        raise AssertionError("augmented")

    data = shared.make_images(10, augmentation=augmentation)
    points = torch.tensor([9, 0, 4, 4, 1])
    batches = list(plain_batches(data, points, 2, num_workers))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.equal(torch.cat(batches), data.plain(points.tolist()))
    labeled = list(plain_batches(data, torch.tensor([9, 0]), 2, num_workers, torch.tensor([1, 2])))
    assert labeled[0][1].tolist() == [1, 2]


def test_validation_is_what_was_given(shared):
    data = shared.make_images(10)
    given = (torch.tensor([3, 1]), torch.tensor([2, 2]))
    options = {"batch_size": 4, "min_batches": 1, "seed": 0, "round": 0}
    ((x, y),) = list(RoundData(data, given, given, **options).val_dataloader())
    assert torch.equal(x, data.plain([3, 1]))
    assert y.tolist() == [2, 2]
    assert RoundData(data, given, None, **options).val_dataloader() == []
