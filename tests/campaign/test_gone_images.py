"""Photos that disappear, return, appear or are replaced while people label them."""

import json
from types import SimpleNamespace

import pytest
from helpers.label_command import make_photos
from helpers.labelers import Labelers

from dal import ActiveLearner, run
from dal.acquisition import Margin
from dal.campaign.replayed import replay
from dal.cli.run_data import load_for_run
from dal.data.sets.unlabeled_folder import UnlabeledFolder
from dal.errors import DalError, WaitingForAnswers
from dal.labeling.people.oracle import People
from dal.models import Classifier
from dal.models.backbones import SmallCNN
from dal.runs.folder import RunFolder
from dal.runs.restored import read_run_folder
from dal.stopping import CampaignConfig

CAMPAIGN = CampaignConfig(initial_size=6, query_size=4, budget=18, test_size=4)


class PhotoRun:
    """A run on a folder of photos. Each start reads the folder again."""

    def __init__(self, tmp_path, training):
        self.photos, self.path, self.training = make_photos(tmp_path / "photos"), tmp_path / "run", training
        self.path.mkdir()
        self.away = tmp_path / "away"
        self.away.mkdir()

    def opened(self, in_memory=True):
        config = UnlabeledFolder(root=str(self.photos), classes=["cat", "dog"], image_size=8, in_memory=in_memory)
        data = load_for_run(SimpleNamespace(data=config, with_units=lambda splits: splits), self.path).train
        learner = ActiveLearner(
            lambda: Classifier(SmallCNN(3, (8, 8)), num_classes=2), data, Margin(), training=self.training, seed=1
        )
        return data, learner

    def start(self):
        """Start the run, which waits for answers, and return its rows."""
        data, learner = self.opened()
        settings = {"data": {"name": "unlabeled_folder", "root": str(self.photos)}}
        folder = RunFolder(self.path, settings, data.fingerprint())
        try:
            return run(learner, People(data, self.path), CAMPAIGN, records=folder)
        except WaitingForAnswers:
            return folder.rows
        finally:
            folder.close()

    def answer(self):
        labelers = Labelers(self.path, SimpleNamespace(classes=["cat", "dog"]))
        lines = labelers.wanted()
        for line in lines:
            labelers.answers.record(labelers.draft(line, "skip") | {"kind": "label", "label": line.id[3:6]})
        return [line.id for line in lines]

    def replayed(self):
        data, learner = self.opened()
        records = read_run_folder(self.path, data.fingerprint())
        return replay(learner, People(data, self.path), CAMPAIGN, records)

    def remove(self, id):
        (self.photos / id).rename(self.away / id)

    def restore(self, id):
        (self.away / id).rename(self.photos / id)

    def events_of_dal(self):
        events = map(json.loads, (self.path / "answers.jsonl").read_text().splitlines())
        return [(event["kind"], event["id"]) for event in events if event["annotator"] == "dal"]


@pytest.fixture
def photos(tmp_path, quick):
    return PhotoRun(tmp_path, quick)


def kinds(run):
    """The ids that people were asked for first, by kind."""
    rows = [line.split(",") for line in (run.path / "asked.csv").read_text().splitlines()[1:]]
    return {kind: [row[4] for row in rows if row[6] == kind and row[1] == "0"] for kind in ("test", "initial")}


def test_a_run_goes_on_without_photos_that_are_gone_and_takes_them_back(photos):
    photos.start()
    first = kinds(photos)
    photos.answer()
    (row,) = photos.start()
    assert (row["num_labeled"], row["num_test"], row["labels_bought"]) == (6, 4, 10)
    asked = photos.answer()
    unasked = sorted({path.name for path in photos.photos.iterdir()} - {*first["test"], *first["initial"], *asked})[0]
    lost = [first["test"][0], first["initial"][0], unasked]
    for id in lost:
        photos.remove(id)
    (photos.photos / "000-new.png").write_bytes((photos.photos / asked[0]).read_bytes())
    with pytest.warns(UserWarning) as said:
        row = photos.start()[-1]
    sentences = [str(one.message) for one in said]
    assert [text.partition(": ")[2][:10] for text in sentences] == ["3 images o", "1 new imag"], "each once"
    assert sorted(photos.events_of_dal()) == sorted(("unreadable", id) for id in lost)
    assert (row["num_labeled"], row["num_test"], row["labels_bought"]) == (9, 3, 14), "bought, and not used"
    last = photos.answer()
    assert len(last) == 4 and not {unasked, "000-new.png"} & set(last)
    with pytest.warns(UserWarning, match="images of the run are gone"):
        photos.start()
    with pytest.warns(UserWarning), pytest.raises(DalError) as refused:
        photos.replayed()
    assert str(refused.value).startswith(
        f"replay: round 0 cannot be trained again, because it used 1 image that is gone now ({lost[1]}). Restore"
    )
    for id in lost:
        photos.restore(id)
    with pytest.warns(UserWarning, match="1 new image is not part of this run"):
        found = photos.replayed()
    assert (found.difference, found.rounds, found.selected) == (None, 3, 14)


def test_a_photo_that_returns_is_used_again(photos):
    photos.start()
    photos.answer()
    (gone, broken) = kinds(photos)["initial"][:2]
    photos.remove(gone)
    good = (photos.photos / broken).read_bytes()
    (photos.photos / broken).write_bytes(good[:40])
    with pytest.warns(UserWarning, match="cannot be decoded"):
        assert photos.start()[0]["num_labeled"] == 4
    photos.restore(gone)
    (photos.photos / broken).write_bytes(good)
    photos.answer()
    assert photos.start()[1]["num_labeled"] == 10
    assert photos.events_of_dal() == [(kind, id) for kind in ("unreadable", "undo") for id in sorted([gone, broken])]
    assert photos.replayed().difference is None


def test_a_replaced_photo_is_refused(photos):
    photos.start()
    photos.answer()
    photos.start()
    (photos.photos / "00-cat.png").write_bytes((photos.photos / "01-dog.png").read_bytes())
    with pytest.raises(
        DalError, match=r"other pixels under the same ids \(1 changed: 00-cat\.png\)\. Restore the data"
    ):
        photos.start()


def test_a_photo_that_disappears_within_a_start_is_given_up(photos):
    photos.start()
    photos.answer()
    first = kinds(photos)["initial"]
    data, _ = photos.opened(in_memory=False)
    people = People(data, photos.path)
    people.open()
    photos.remove(first[0])
    index = data.ids.index(first[0])
    assert data.source.batch([index, index - 1])[0].max() == 0 and data.gaps == {index}
    with pytest.warns(UserWarning, match=f"^data: 1 image of the run is gone or cannot be read .{first[0]}"):
        people.look_again([])
    people.look_again([])
    assert photos.events_of_dal() == [("unreadable", first[0])]
    photos.photos.rename(photos.away / "all")
    with pytest.raises(DalError, match="readable at setup, but not now"):
        data.source.batch([0, 1, 2])
    people.look_again([])
    assert len(photos.events_of_dal()) == 1, "a disk that is not mounted is no reason"
