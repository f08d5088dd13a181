"""Damaged run folders: each is one sentence, and nothing damaged is accepted."""

import json
import os
import random
import shutil

import pytest
import torch
import yaml
from helpers import synthetic_runs
from rich.console import Console

from dal.analysis import read_run, summarize_runs
from dal.config.saved_run import config_to_rank
from dal.errors import DalError
from dal.reports.overview import read_runs
from dal.runs.files.state import read_state
from dal.runs.folder import RunFolder
from dal.runs.journal import Asked
from dal.runs.restored import read_run_folder

DATA = "aaaa"
CONFIG = synthetic_runs.config_of()


def write(path, finished):
    """A run of two rounds, whose second query waits for its labels unless it is finished."""
    folder = RunFolder(path, CONFIG, DATA)
    points = [Asked(0, rank, 90 + rank, f"v{rank}", None) for rank in range(2)]
    folder.commit_validation_query(points)
    folder.commit_validation([point.answered(1) for point in points])
    rows = synthetic_runs.rows_of([0.5, 0.6, 0.7] if finished else [0.5, 0.6], labels=[2, 4, 6][: 3 if finished else 2])
    for row in rows if finished else [row | {"campaign_stopped": None} for row in rows]:
        number = row["round"]
        query = [Asked(number, rank, 2 * number + rank, f"p{number}{rank}", 0.25) for rank in range(2)]
        folder.commit_query(query, {"seconds_score": 0.5}, torch.arange(9, dtype=torch.float64) + number)
        folder.commit_selection([point.answered(0) for point in query])
        folder.keep_weights({"weight": torch.full((4,), float(number))})
        folder.commit_round(row | {"num_validation": 2, "labels_bought": row["num_labeled"] + 2})
    if not finished:
        folder.commit_query([Asked(2, 0, 7, "p7", 0.5)], {"seconds_score": 0.5}, torch.zeros(9, dtype=torch.float64))
    folder.follow("accuracy")
    folder.close()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        without_slow_parts(patch)
        yield [write(tmp_path_factory.mktemp("whole") / f"run{i}", finished=bool(i)) for i in range(2)]


def without_slow_parts(patch):
    patch.setattr(os, "fsync", lambda descriptor: None)
    patch.setattr("dal.runs.environment.environment", dict)
    patch.setattr(RunFolder, "_write_tensorboard", lambda self, rows: None)


def contents(records):
    tensors = [None if records.scores is None else records.scores.tolist()]
    tensors += [{name: value.tolist() for name, value in (records.weights or {}).items()}]
    return [
        records.stage,
        records.rows,
        records.selections,
        records.validation,
        records.pending,
        records.costs,
        tensors,
    ]


def resume(path):
    folder = RunFolder(path, CONFIG, DATA)
    folder.close()
    return contents(folder)


def summary(path):
    runs = read_runs([path], Console(quiet=True), check=lambda run: run.points)
    return summarize_runs(runs).drop(columns="data").to_json()


READERS = {
    "rank": lambda path: contents(read_run_folder(path, DATA)),
    "compare": lambda path: [(run.rows, run.config, run.final_model, run.points) for run in [read_run(path)]],
    "resume": resume,
}
SLOW = {"report": (summary, "rounds.jsonl"), "settings": (lambda path: config_to_rank(path, []), "config.yaml")}


def told(path, damaged=None):
    """What each reader tells of a folder: a result, or the sentence of a DalError.

    The slow readers run if their file is the damaged one.
    """
    results = {}
    slow = {name: reader for name, (reader, file) in SLOW.items() if damaged in (None, "state.json", file)}
    for name, reader in (slow | READERS).items():
        try:
            results[name] = reader(path)
        except DalError as error:
            assert "\n" not in str(error)
            results[name] = error
    return results


def flip(draw, file):
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def cut(draw, file):
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


def extend(draw, file):
    file.write_bytes(file.read_bytes() + draw.randbytes(draw.randrange(1, 40)))


def overwrite(draw, file):
    texts = [b"", b"\xff\xfe\x00", b"{}", b"[]", b"null", b"[" * 100_000, b"a: &a [*a]", b"a,b\n1,2,3\n", b"\0" * 99]
    file.write_bytes(draw.choice([*texts, draw.randbytes(50)]))


def delete(draw, file):
    file.unlink()


def replace_by_folder(draw, file):
    file.unlink()
    file.mkdir()


def replace_by_pipe(draw, file):
    file.unlink()
    os.mkfifo(file)


def link_outside(draw, file):
    outside = file.parent.parent / f"outside-{file.name}"
    shutil.move(file, outside)
    file.symlink_to(outside)


def swap(draw, file):
    other = draw.choice([other for other in sorted(file.parent.iterdir()) if other.is_file() and other != file])
    first, second = file.read_bytes(), other.read_bytes()
    file.write_bytes(second)
    other.write_bytes(first)


def change_a_number(draw, file):
    data = file.read_bytes()
    places = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
    place = draw.choice(places or [0])
    text = draw.choice([b"7", b"-1", b"9" * 30, b"9" * 5000, b"1e999", b"NaN", b"true", b"null", b'"x"', b"[]", b"{}"])
    file.write_bytes(data[:place] + text + data[place + 1 :])


def change_a_value(draw, file):
    """Another value in state.json, or in the first row."""
    file = file.parent / draw.choice(["state.json", "rounds.jsonl"])
    first, *rest = [file.read_text()] if file.suffix == ".json" else file.read_text().splitlines(keepends=True)
    values = json.loads(first)
    key = draw.choice(sorted(values))
    values[key] = draw.choice(
        [None, True, -1, 10**18, 10**400, 1e308, "foo", "../../x", "/etc/passwd", [], {}, {"a": []}]
    )
    if draw.random() < 0.2:
        del values[key]
    file.write_text("".join([json.dumps(values) + "\n", *rest]))


DAMAGES = [flip, flip, cut, extend, overwrite, delete, replace_by_folder, replace_by_pipe, link_outside, swap]
DAMAGES += [change_a_number, change_a_number, change_a_value, change_a_value]


@pytest.mark.parametrize("digests", [True, False], ids=["with digests", "of an older dal"])
def test_damage_is_one_sentence_or_changes_nothing(whole, tmp_path, monkeypatch, digests):
    without_slow_parts(monkeypatch)
    draw, accepted = random.Random(0), 0
    expected = {source: told(shutil.copytree(source, tmp_path / source.name)) for source in whole}
    assert not [r for results in expected.values() for r in results.values() if isinstance(r, DalError)]
    for number in range(500 if digests else 100):
        source, folder = draw.choice(whole), tmp_path / str(number) / "run"
        shutil.copytree(source, folder)
        if not digests:
            synthetic_runs.as_before_digests(folder)
        file = draw.choice(sorted(path for path in folder.iterdir() if path.is_file() and path.name != ".lock"))
        damage = draw.choice(DAMAGES)
        damage(draw, file)
        for reader, result in told(folder, file.name).items():
            if isinstance(result, DalError):
                continue
            accepted += 1
            if digests:
                assert result == expected[source][reader], (number, damage.__name__, file.name, reader)
        shutil.rmtree(folder.parent)
    assert accepted > 50  # what no reader needs may be damaged


def test_each_damage_is_named_with_its_file_and_a_remedy(whole, tmp_path, monkeypatch):
    without_slow_parts(monkeypatch)
    cases = {
        "weights_002.pt": lambda data: bytes([*data[:-1], data[-1] ^ 1]),
        "scores_002.pt": lambda data: data[:-1] + b"x",
        "validation.csv": lambda data: b"",
        "selections.csv": lambda data: data.replace(b",0,0.25\n", b",1,0.25\n", 1),
        "config.yaml": lambda data: data.replace(b"seed: 0", b"seed: 1"),
        "state.json": lambda data: data.replace(b'"stage": "done"', b'"stage": "foo"'),
    }
    for name, damage in cases.items():
        path = shutil.copytree(whole[1], tmp_path / name)
        before = (path / name).read_bytes()
        (path / name).write_bytes(damage(before))
        assert (path / name).read_bytes() != before
        with pytest.raises(DalError) as error:
            resume(path)
        assert str(error.value).startswith(f"run: {name} in {str(path)!r} is damaged"), str(error.value)
        assert str(error.value).endswith("Restore it, or choose another folder.")


@pytest.mark.parametrize(
    "changed", [{"training": {"warm_start": 1.5}}, {"model": {"backbone": 7}}, {"prices": {"label": "0.5"}}]
)
def test_a_setting_of_another_type_is_noticed_without_a_digest(whole, tmp_path, changed):
    path = shutil.copytree(whole[1], tmp_path / "run")
    synthetic_runs.as_before_digests(path)
    config = yaml.safe_load((path / "config.yaml").read_text())
    (path / "config.yaml").write_text(yaml.safe_dump(config | {"training": {"average": 1}}))
    assert config_to_rank(path, [])["training"] == {"average": 1}  # a whole number is a number
    (path / "config.yaml").write_text(yaml.safe_dump(config | changed))
    with pytest.raises(DalError, match=rf"config\.yaml in .* is damaged \({min(changed)}: a value has another type"):
        config_to_rank(path, [])


def test_a_damaged_folder_is_left_out_of_reports(whole, tmp_path, capsys):
    for number in range(3):
        synthetic_runs.write_paired_run(tmp_path / "runs" / f"good{number}", [0.5, 0.6], seed=number)
    bad = shutil.copytree(whole[1], tmp_path / "runs" / "bad")
    (bad / "rounds.jsonl").write_bytes(b"\xff")
    lost = shutil.copytree(whole[1], tmp_path / "runs" / "lost")
    (lost / "state.json").unlink()
    empty = shutil.copytree(whole[1], tmp_path / "runs" / "points")
    (empty / "selections.csv").write_text("")
    runs = read_runs([tmp_path / "runs"], Console(quiet=True), check=lambda run: run.points)
    assert [run.path.name for run in runs] == ["good0", "good1", "good2"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"Ignored {str(path)!r}" for path in (bad, lost, empty)]
    with pytest.raises(DalError, match=r"rounds\.jsonl in"):
        read_runs([bad], Console(quiet=True))


def test_paths_in_a_folder_stay_in_it(whole, tmp_path, monkeypatch):
    without_slow_parts(monkeypatch)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in (".lock", "environment.jsonl", "rounds.jsonl", "weights_009.pt", ".state.json.new", "tensorboard"):
        path = shutil.copytree(whole[1], tmp_path / f"run-{name}")
        target = outside / name if name != "tensorboard" else outside
        (outside / name).write_text("thesis")
        if (path / name).exists():
            (path / name).unlink()
        (path / name).symlink_to(target)
        with pytest.raises(DalError, match=rf"got '{name}', which leads out of it"):
            resume(path)
    path = shutil.copytree(whole[1], tmp_path / "scores")
    torch.save({"scores": torch.zeros(9, dtype=torch.float64)}, outside / "scores_009.pt")
    for name in (str(outside / "scores_009.pt"), "../outside/scores_009.pt", "weights_002.pt", "scores_9"):
        synthetic_runs.as_before_digests(path, scores=name)
        for reader in (resume, lambda path: read_run_folder(path, DATA)):
            with pytest.raises(DalError, match=r"state\.json in .* is damaged"):
                reader(path)
    assert {file.name for file in outside.iterdir() if "thesis" in file.read_text(errors="replace")} == {
        *(".lock", "environment.jsonl", "rounds.jsonl", "weights_009.pt", ".state.json.new", "tensorboard")
    }


def test_a_folder_before_digests_resumes_and_then_has_them(whole, tmp_path, monkeypatch):
    without_slow_parts(monkeypatch)
    path = shutil.copytree(whole[0], tmp_path / "old")
    synthetic_runs.as_before_digests(path)
    assert resume(path) == resume(whole[0])
    folder = RunFolder(path, CONFIG, DATA)
    folder.commit_selection([folder.pending[0].answered(2)])
    folder.close()
    names = {"config.yaml", "rounds.jsonl", "selections.csv", "validation.csv", "weights_001.pt", "scores_002.pt"}
    assert set(json.loads((path / "state.json").read_text())["digests"]) == names
    assert resume(path)[0] == "train"


def test_a_changed_class_name_in_the_description_is_noticed_where_it_is_read(tmp_path, monkeypatch):
    without_slow_parts(monkeypatch)
    path = write(tmp_path / "run", finished=True)
    facts = {"name": "toy", "classes": ["cat", "dog"], "images": 9, "set_aside": {}}

    def described():
        folder = RunFolder(path, CONFIG, DATA)
        folder.describe_data(facts)
        folder.close()
        return (path / "state.json").read_bytes(), (path / "data.json").read_bytes()

    committed = described()
    whole = contents(read_run_folder(path, DATA))
    assert json.loads(committed[1])["classes"] == ["cat", "dog"] and "data.json" in read_state(path)["digests"]
    for damage in (lambda: (path / "data.json").write_bytes(committed[1].replace(b"cat", b"cow")),
                   lambda: (path / "data.json").unlink()):  # fmt: skip
        damage()
        for read in (lambda: read_run(path), lambda: read_run_folder(path, DATA), lambda: read_runs([path], Console())):
            with pytest.raises(DalError, match=r"data\.json"):
                read()
        with pytest.warns(UserWarning, match=r"^run: data\.json in .* was changed or removed\. It is written again\.$"):
            assert described() == committed
        assert contents(read_run_folder(path, DATA)) == whole == resume(path)


def test_a_description_of_an_older_version_is_not_compared(tmp_path, monkeypatch):
    without_slow_parts(monkeypatch)
    path = write(tmp_path / "run", finished=True)
    (path / "data.json").write_text('{"classes": ["cat", "dog"]}')
    assert read_run(path).rows and read_run_folder(path, DATA).rows


@pytest.mark.parametrize("commits", [0, 1])
def test_a_crash_while_the_description_changes_leaves_a_folder_that_resumes(tmp_path, monkeypatch, commits):
    without_slow_parts(monkeypatch)
    path = write(tmp_path / "run", finished=True)
    folder = RunFolder(path, CONFIG, DATA)
    folder.describe_data({"classes": ["cat", "dog"]})
    commit, left = folder._commit, iter([None] * commits)

    def crash():
        next(left)
        commit()

    monkeypatch.setattr(folder, "_commit", crash)
    with pytest.raises(StopIteration):
        folder.describe_data({"classes": ["cat", "cow"]})
    folder.close()
    assert read_run(path).rows
    assert resume(path)[0] == "done"
