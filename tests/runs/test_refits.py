"""Files of trainings with one change."""

import json

import pytest

from dal.errors import DalError
from dal.runs.refits import CLASS, UNCHANGED, WIDTH, Arm, Basis, Training, read_arm, read_arms, write_arm

BASIS = Basis("key", 5, ["a", "b"], [0, 1], [1, 0, 1], [0, 0, 1])
TRAININGS = {0: Training([0, 1], [1, 1, 1]), 7: Training([0, 0], [0, 0, 0])}


def test_arms_come_back_as_they_were_and_those_of_other_labels_do_not_count(tmp_path):
    assert read_arms(tmp_path) == [] and read_arm(tmp_path, UNCHANGED) is None
    other = Basis("other", 5, *(getattr(BASIS, name) for name in ("classes", "test_label", "label", "bought")))
    arms = [Arm(UNCHANGED, 0, BASIS, TRAININGS), Arm(WIDTH, 0.5, BASIS, TRAININGS), Arm(CLASS, 1, BASIS, TRAININGS)]
    for arm in (*arms, Arm(WIDTH, 4, other, TRAININGS)):
        write_arm(tmp_path, arm)
    assert read_arms(tmp_path) == arms
    assert (tmp_path / "refit" / "width_0.5.json").is_file()


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("basis"),
        lambda found: found.update(kind="height"),
        lambda found: found["trainings"]["0"]["test"].pop(),
        lambda found: found["basis"]["label"].append(3),
        lambda found: found["basis"].update(label=[5, 0, 1]),
        lambda found: found["basis"].update(test_label=[]),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = write_arm(tmp_path, Arm(WIDTH, 2, BASIS, TRAININGS))
    found = json.loads(path.read_text())
    damage(found)
    path.write_text(json.dumps(found))
    with pytest.raises(DalError, match=r"^refit: .*width_2.json' is damaged. Delete it to start again.$"):
        read_arm(tmp_path, "width_2")
    for text in ("{", "[" * 100_000, json.dumps(found | {"basis": {"updates": 1e400}}).replace("Infinity", "1e400")):
        path.write_text(text)
        with pytest.raises(DalError, match="is damaged"):
            read_arm(tmp_path, "width_2")


def test_a_folder_that_leads_out_of_the_run_is_refused(tmp_path):
    outside, run = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    run.mkdir()
    (run / "refit").symlink_to(outside)
    for call in (lambda: write_arm(run, Arm(WIDTH, 2, BASIS, TRAININGS)), lambda: read_arms(run)):
        with pytest.raises(DalError, match="got 'refit', which leads out of it"):
            call()
    assert not list(outside.iterdir())
