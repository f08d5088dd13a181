import pytest
import torch
from sklearn.datasets import load_digits

from dal.data import load
from dal.data.sets import digits
from dal.data.sets.digits import MEAN, STD, Digits


@pytest.fixture(scope="module")
def splits():
    return load(Digits())


def test_each_image_stands_at_its_original_position(splits):
    raw = load_digits()
    for data in splits:
        positions = [int(name.removeprefix("digit-")) for name in data.ids]
        expected = torch.from_numpy(raw.images[positions]) * 255 / 16
        torch.testing.assert_close(
            data.source.batch(range(len(data))).squeeze(1).double(), expected, rtol=0, atol=0.5 + 1e-9
        )
        assert data.labels.tolist() == raw.target[positions].tolist()
        assert int(data.source.batch(range(len(data))).max()) == 255


def test_split_is_complete_disjoint_stratified_and_never_changes(splits):
    train, test = splits
    assert (len(train), len(test)) == (1297, 500)
    assert sorted([*train.ids, *test.ids]) == [f"digit-{i:04d}" for i in range(1797)]
    assert test.labels.bincount().tolist() == [50, 51, 49, 51, 50, 51, 50, 50, 48, 50]
    assert train.fingerprint() == "56cd89f3d32f7958-c79a72e05ea41494-6782c584f28a7245"
    assert test.fingerprint() == "82846c19b05c591b-8a1668f60c4c137d-f8262ad5eeecfcfb"


def test_mean_and_std_are_those_of_the_training_images(splits):
    pixels = splits.train.source.batch(range(1297)).double() / 255
    assert pixels.mean().item() == pytest.approx(MEAN, abs=5e-5)
    assert pixels.std(correction=0).item() == pytest.approx(STD, abs=5e-5)
    plain = splits.train.plain(range(1297))
    assert plain.mean().item() == pytest.approx(0, abs=1e-3)


def test_augmentation_shifts_by_a_pixel_and_never_mirrors(splits):
    train = splits.train
    indices = [0] * 60
    zero = (0 - MEAN) / STD
    plain = torch.nn.functional.pad(train.plain([0])[0, 0], (1, 1, 1, 1), value=zero)
    shifts = {tuple(plain[y : y + 8, x : x + 8].flatten().tolist()) for y in range(3) for x in range(3)}
    seen = {tuple(image.flatten().tolist()) for image in train.augmented(indices, torch.Generator().manual_seed(0))}
    assert len(seen) > 4
    assert all(any(torch.allclose(torch.tensor(s), torch.tensor(t), atol=1e-5) for t in shifts) for s in seen)


def test_a_scikit_learn_that_keeps_them_elsewhere_gives_the_same_digits(splits, monkeypatch):
    monkeypatch.setattr(digits, "FILE", "elsewhere.csv.gz")
    again = load(Digits())
    assert [data.fingerprint() for data in again] == [data.fingerprint() for data in splits]
