import json
import warnings

import pytest

from dal.analysis import NoRoundsError, find_runs, is_run, read_run
from dal.analysis.grouping import group_runs
from dal.errors import DalError


def test_a_real_run_folder_is_read(synthetic, tmp_path):
    path = synthetic.write_real_run(tmp_path / "run", [0.5, 0.75], acquisition="badge", seed=3)
    run = read_run(path)
    assert (run.label, run.data, run.seed, run.stopped, run.finished) == ("badge", "digits", 3, "budget", True)
    assert run.fingerprint == "aaaa"
    assert run.rounds["test_accuracy"].to_list() == [0.5, 0.75]
    assert run.rounds["test_recall"].iloc[1] == [0.75, None]
    assert run.config["campaign"] == {"query_size": 10, "budget": 100}


def test_the_fast_helper_writes_what_run_folder_writes(synthetic, tmp_path):
    real, fast = (
        write(tmp_path / write.__name__, [0.5, 0.6]) for write in (synthetic.write_real_run, synthetic.write_run)
    )
    for name in ("config.yaml", "rounds.jsonl"):
        assert (real / name).read_text() == (fast / name).read_text()
    states = [json.loads((path / "state.json").read_text()) for path in (real, fast)]
    for key in ("stage", "rounds", "data"):
        assert states[0][key] == states[1][key]
    assert states[0]["bytes"]["rounds.jsonl"] == states[1]["bytes"]["rounds.jsonl"]


@pytest.mark.parametrize("kind", ["unlabeled_folder", "image_folder"])
def test_a_run_of_a_folder_has_the_name_of_the_folder(synthetic, tmp_path, kind):
    paths = [
        synthetic.write_run(tmp_path / name, [0.5], data=kind, data__root=f"in/{name}") for name in ("a", "b", "c")
    ]
    for path, name in zip(paths, ("photos", "scans", None), strict=True):
        (path / "data.json").write_text(json.dumps({"name": name}))
    groups = group_runs(map(read_run, paths))
    assert sorted((group.data, group.name) for group in groups) == sorted(
        (name, "margin") for name in ("photos", "scans", kind)
    )


def test_a_run_without_digests_says_so_once(synthetic, tmp_path):
    paths = [synthetic.write_run(tmp_path / name, [0.5]) for name in ("a", "b", "new")]
    for path in paths[:2]:
        synthetic.as_before_digests(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for path in [*paths, *paths]:
            read_run(path)
    assert [str(one.message) for one in caught] == [
        "run: folders of older versions of dal have no digests, so a value that changed in their files is not noticed. "
        "Resume a run to add them."
    ]


@pytest.mark.parametrize("leftover", ['{"round": 2, "test_acc', '{"round": 2}\n', "\x00\x00"])
def test_what_a_crash_left_behind_the_commit_is_not_read(synthetic, tmp_path, leftover):
    path = synthetic.write_run(tmp_path / "run", [0.5, 0.6], stopped=None)
    with (path / "rounds.jsonl").open("a") as file:
        file.write(leftover)
    run = read_run(path)
    assert run.rounds["round"].to_list() == [0, 1]
    assert (run.finished, run.stopped) == (False, None)


def test_what_is_not_a_run_is_refused(synthetic, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    cases = {
        tmp_path / "nowhere": f"run: expected a folder, got {str(tmp_path / 'nowhere')!r}.",
        tmp_path / "file": f"run: expected a folder, got {str(tmp_path / 'file')!r}.",
        tmp_path / "empty": f"run: expected a run folder, got {str(tmp_path / 'empty')!r}, which has no state.json.",
    }
    for path, sentence in cases.items():
        with pytest.raises(DalError) as error:
            read_run(path)
        assert str(error.value) == sentence


def test_a_run_without_a_finished_round_is_refused_by_its_own_error(synthetic, tmp_path):
    path = synthetic.write_run(tmp_path / "run", [], stopped=None)
    with pytest.raises(NoRoundsError) as error:
        read_run(path)
    assert str(error.value) == f"run: {str(path)!r} has no finished round yet. Wait for it, or resume it with dal run."


def test_damage_is_one_sentence(synthetic, tmp_path):
    path = synthetic.write_run(tmp_path / "short", [0.5, 0.6])
    whole = (path / "rounds.jsonl").read_bytes()
    (path / "rounds.jsonl").write_bytes(whole[:-5])
    with pytest.raises(
        DalError, match=rf"^run: expected {len(whole)} bytes of rounds.jsonl in .*, got {len(whole) - 5}\. "
    ):
        read_run(path)
    (path / "rounds.jsonl").unlink()
    with pytest.raises(
        DalError, match=r"rounds.jsonl in .*, got no such file\. Restore it, or choose another folder\.$"
    ):
        read_run(path)
    path = synthetic.write_run(tmp_path / "config", [0.5, 0.6])
    (path / "config.yaml").write_text("data: {name: digits}\n")
    with pytest.raises(DalError, match=r"^run: expected seed in config.yaml of .*, got none\.$"):
        read_run(path)
    for text in ("{", "[]", "{}"):
        (path / "state.json").write_text(text)
        with pytest.raises(
            DalError, match=r"^run: state.json in .* is damaged\. Restore it, or choose another folder\.$"
        ):
            read_run(path)


def test_runs_are_found_at_any_depth_sorted_and_once(synthetic, tmp_path):
    deep = synthetic.write_run(tmp_path / "runs/digits/margin/seed0", [0.5])
    flat = synthetic.write_run(tmp_path / "runs/a", [0.5])
    inside = synthetic.write_run(flat / "copy", [0.5])  # what is inside a run belongs to it
    (tmp_path / "runs" / "notes").mkdir()
    assert is_run(inside)
    assert find_runs([deep, tmp_path / "runs", tmp_path / "runs" / ".." / "runs" / "a"]) == sorted(
        [deep, tmp_path / "runs" / ".." / "runs" / "a"]
    )
    assert find_runs([str(tmp_path)]) == [flat, deep]


def test_folders_without_runs_are_refused(synthetic, tmp_path):
    synthetic.write_run(tmp_path / "good", [0.5])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DalError, match=r"^runs: expected at least one run in '.*empty', got none\.$"):
        find_runs([tmp_path / "good", tmp_path / "empty"])
    with pytest.raises(
        DalError, match=r"^runs: expected a run folder or a folder that contains runs, got '.*nowhere'\.$"
    ):
        find_runs([tmp_path / "nowhere"])


def test_the_primary_metric_is_that_of_the_data(synthetic, tmp_path):
    path = synthetic.write_run(tmp_path / "run", [0.5, 0.6], extra=lambda i: {"test_mean_average_precision": 0.25 * i})
    assert read_run(path).primary_metric == "accuracy" and read_run(path).curve.tolist() == [0.5, 0.6]
    (path / "data.json").write_text('{"name": "digits"}')
    assert read_run(path).primary_metric == "accuracy"
    (path / "data.json").write_text('{"primary_metric": "mean_average_precision"}')
    assert read_run(path).primary_metric == "mean_average_precision"
    assert read_run(path).curve.tolist() == [0, 0.25]
    for text in ("{", "[]"):
        (path / "data.json").write_text(text)
        with pytest.raises(DalError, match=r"^run: data.json in .* is damaged\. Resume the run to write it again\.$"):
            read_run(path)


def test_rows_are_those_of_the_journal_without_keys_of_other_rows(synthetic, tmp_path):
    path = synthetic.write_run(tmp_path / "run", [0.5, 0.6], extra=lambda i: {"probe": 1} if i else {})
    run = read_run(path)
    assert [row.get("probe") for row in run.rows] == [None, 1] and "probe" not in run.rows[0]
    assert run.rows[1].costs["train"].samples_forward == 640
    assert run.labels_bought.tolist() == [10, 20]
