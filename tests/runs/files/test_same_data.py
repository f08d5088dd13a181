from dataclasses import replace

import pytest

from dal.data.images import ImageSplits, TensorSource
from dal.errors import DalError
from dal.runs.files.same_data import changed, check_same_data
from dal.runs.folder import RunFolder
from dal.runs.restored import read_run_folder


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("9-2-3-4", r"other images \(their ids or classes differ\)"),
        ("1-9-3-4", "other labels of the same images"),
        ("1-2-9-4", "other pixels under the same ids"),
        ("1-2-3-9", r"another test set \(its ids, labels or pixels differ\)"),
        ("1-9-9-4", "other labels of the same images and other pixels under the same ids"),
    ],
)
def test_what_has_changed_is_named(tmp_path, now, words):
    check_same_data(tmp_path, "1-2-3-4", "1-2-3-4")
    with pytest.raises(DalError, match=rf"^data: the run in .* started with {words}\. Restore the data, or choose"):
        check_same_data(tmp_path, "1-2-3-4", now)


def test_parts_that_one_side_lacks_are_not_compared():
    for before in ("1", "1--3-4", "1-2--", "1-2-3"):
        assert changed(before, "1-2-3-4") == changed("1-2-3-4", before) == []


@pytest.fixture
def run(tmp_path, data):
    """A run with a round, and the splits it started with."""
    splits = ImageSplits(data, data.subset(range(10)))
    folder = RunFolder(tmp_path / "run", {}, splits.fingerprint())
    folder.keep_weights({})
    folder.commit_round({"campaign_stopped": None, "num_labeled": 0})
    folder.close()
    return tmp_path / "run", splits


def relabeled(data):
    labels = data.labels.clone()
    labels[0] = (labels[0] + 1) % data.num_classes
    return replace(data, labels=labels)


def test_a_run_resumes_with_the_same_data_only(run):
    path, (train, test) = run
    repainted = replace(train, source=TensorSource(255 - train.source.images))
    RunFolder(path, {}, ImageSplits(train, test).fingerprint()).close()
    for splits, words in (
        (ImageSplits(relabeled(train), test), "other labels"),
        (ImageSplits(repainted, test), "other pixels"),
        (ImageSplits(train, relabeled(test)), "another test set"),
    ):
        before = (path / "state.json").read_bytes()
        with pytest.raises(DalError, match=words):
            RunFolder(path, {}, splits.fingerprint())
        assert (path / "state.json").read_bytes() == before


def test_a_ranking_reads_a_run_whose_labels_have_changed_but_not_its_images(run):
    path, (train, _) = run
    assert len(read_run_folder(path, relabeled(train).fingerprint()).rows) == 1
    with pytest.raises(DalError, match="other images"):
        read_run_folder(path, train.subset(range(5)).fingerprint())
