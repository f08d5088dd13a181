"""Every case of the benchmarks of speed, memory and growth runs at a small size, from the command to the README."""

import dataclasses
import gc
import importlib
import sys
from argparse import Namespace
from contextlib import nullcontext, redirect_stdout
from io import StringIO

import pandas as pd
import pytest
import torch
from helpers.benchmark_scripts import imported, use_small_fashion

from dal.models import Classifier
from dal.models.backbones import SmallCNN


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    use_small_fashion(monkeypatch, tmp_path / "cache")
    # Compilation takes many seconds, and tests of scoring cover it.
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    # A collection before each measurement takes longer than the work of a small case.
    monkeypatch.setattr(gc, "collect", lambda: 0)


def run(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
    return script.main()


def results(tmp_path, parts):
    """Return the rows of all parts, of which the README has a section each."""
    found = {}
    for folder in tmp_path.glob("results/*"):
        assert len(list(folder.glob("*.png"))) == 1
        readme = (folder / "README.md").read_text()
        found |= {path.stem: pd.read_csv(path) for path in folder.glob("*.csv") if f"## {path.stem}\n" in readme}
    return pd.concat([found[part] for part in parts])


def test_the_networks_of_the_inputs_train_once(monkeypatch, capsys):
    fashion = imported("fashion")
    run(monkeypatch, fashion)
    run(monkeypatch, fashion)
    first, second = capsys.readouterr().out.split("small_cnn: ")[1:]
    assert first == second and "features (600, 512)" in first


def test_all_cases_of_speed(monkeypatch, tmp_path):
    speed = imported("speed")
    monkeypatch.delitem(speed.PARTS, "cache")  # it waits until files are old, and starts processes

    def tiny(cases):
        return lambda threads, quick: [
            dataclasses.replace(case, sizes=case.sizes | case.tiny) for case in cases(threads, quick)
        ]

    for part, (cases, text) in list(speed.PARTS.items()):
        monkeypatch.setitem(speed.PARTS, part, (tiny(cases), text))
    options = ["--quick", "--repeats", 1, "--no-memory", "--threads", 1]
    assert run(monkeypatch, speed, *speed.PARTS, *options, "--results", tmp_path / "results") == 0
    rows = results(tmp_path, speed.PARTS)
    assert rows["contender"].str.startswith("dal").sum() == 27 and rows["case"].nunique() == 26
    ours = rows[~rows["contender"].str.contains("baal|scikit|small-text|authors")]
    assert ours["median_s"].notna().all()


def test_contenders_of_speed_agree(monkeypatch):
    """The floor and dal do the same work."""
    cases = imported("speed_cases")
    for contenders in (cases.coreset("normal", 300, 20, 5), cases.batchbald(100, 20, 10, 3)):
        floor, dal = (contender.run().tolist() for contender in contenders[:2])
        assert floor == dal
    floor, _, dal, *_ = cases.small_cnn(60, 20)
    ranks = cases.same_ranking({"floor": floor.run(), "dal": dal.run()})
    assert float(ranks["dal"].rpartition(" ")[2]) > 0.5


def test_all_cases_on_a_gpu_run_on_a_cpu(monkeypatch, tmp_path):
    gpu, fashion = imported("gpu"), imported("fashion")
    # The cases of speed.py build the ResNet-18, which is slow to trace.
    monkeypatch.setattr(fashion, "resnet18", lambda: Classifier(SmallCNN(3, (32, 32)), num_classes=10).eval())
    options = ["--quick", "--device", "cpu", "--repeats", 1]
    assert run(monkeypatch, gpu, *options, "--results", tmp_path / "results") == 0
    rows = results(tmp_path, gpu.PARTS)
    assert rows["note"].isna().all() and rows["median_s"].notna().all(), rows["note"].dropna().tolist()
    assert len(rows[rows["contender"].str.startswith("dal")]) == 2 * 7 + 2 + 2 + 2


def test_without_a_gpu_the_gpu_benchmark_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(monkeypatch, imported("gpu")) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "This benchmark needs a CUDA GPU, and PyTorch finds none.\n"


def test_all_cases_of_growth(monkeypatch, tmp_path, real_pictures):
    scale = imported("scale")
    small = {"pool": [1000, 2000], "features": [8, 16], "classes": [2, 4], "picks": [2, 4], "draws": [2, 4]}
    for part, (build, sizes, text) in list(scale.PARTS.items()):
        monkeypatch.setitem(scale.PARTS, part, (build, {name: small[name] for name in sizes}, text))
    options = ["--quick", "--repeats", 1, "--no-memory", "--threads", 1]
    assert run(monkeypatch, scale, *options, "--results", tmp_path / "results") == 0
    assert len(results(tmp_path, scale.PARTS)) == 2 * (3 + 4 + 3)


def test_all_arms_of_better_than_all_run_once(monkeypatch, tmp_path, capsys):
    script = imported("better_than_all")
    options = ["--quick", "--seeds", "3", "--processes", 1, "--runs", tmp_path / "runs"]
    options += ["--results", tmp_path / "results"]
    assert run(monkeypatch, script, *options, "--judge") == 1
    assert run(monkeypatch, script, *options) == 0
    arms = pd.DataFrame(results(tmp_path, ["arms"]))
    assert len(arms) == 3 * 7 + 1 and (arms["gflop"] > 0).all()
    noise = arms[arms["case"] == "noise"].set_index("contender")
    assert noise.loc["campaign", "answers"] == noise.loc["control", "answers"] > noise.loc["campaign", "images"]
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.json")}
    capsys.readouterr()
    assert run(monkeypatch, script, *options) == 0
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.json")}


def test_selections_from_disk_are_those_from_memory(monkeypatch, tmp_path):
    disk = imported("disk")
    monkeypatch.setattr(disk, "FOLDER", tmp_path)
    assert disk.equal_to_memory(1500, 5, "1GiB")
    for name in ("coreset", "badge"):
        order = Namespace(one=name, points=1500, picks=5, budget="1GiB", threads=torch.get_num_threads())
        assert disk.one(order)["peak_mib"] > 0


def test_the_process_that_measures_memory_imports_existing_modules():
    for module in imported("harness").IMPORTED_BEFORE_FORK:
        importlib.import_module(module)


def test_all_cases_of_dense_speed(monkeypatch, tmp_path):
    dense, cases, worker = imported("dense_speed"), imported("dense_cases"), imported("against_worker")
    # The networks of torchvision are slow to trace.
    monkeypatch.setattr(cases, "network", lambda kind, classes, real=cases.network: real("SegmentationNet", classes))
    monkeypatch.setattr(cases, "DRAWS", 3)
    monkeypatch.setattr(imported("record"), "save", lambda figure, path: path.write_bytes(b"picture"))

    def tiny(cases):
        small = {"count": 2, "size": 16}
        return lambda threads, quick: [
            dataclasses.replace(case, sizes=case.sizes | {k: v for k, v in small.items() if "size" in case.sizes})
            for case in cases(threads, quick)
        ]

    for part, (found, text) in list(dense.PARTS.items()):
        monkeypatch.setitem(dense.PARTS, part, (found and tiny(found), text))
    # Both versions are this one, without processes.
    monkeypatch.setattr(dense, "_worker", lambda folder: nullcontext(worker.Work()))
    monkeypatch.setattr(dense, "_seconds", lambda work, order: work(order))
    options = ["--quick", "--repeats", 1, "--no-memory", "--against", dense.OWN]
    assert run(monkeypatch, dense, *options, "--results", tmp_path / "results") == 0
    rows = results(tmp_path, dense.PARTS)
    assert rows["median_s"].notna().all() and rows["case"].nunique() == 4 + 3 + 1 + 1


def test_an_update_a_round_and_a_start_against_their_floors(monkeypatch, tmp_path):
    script, worker, starts = map(imported, ("training_step", "training_step_worker", "training_step_starts"))

    def here(program, folder):
        with redirect_stdout(StringIO()) as printed:
            exec(f"{starts._CLOCK}\n{program}", {})
        return float(printed.getvalue().split()[-1])

    # The other version is this one, without processes.
    monkeypatch.setattr(script, "_worker", lambda folder: nullcontext(worker.Worker(tmp_path / "rounds")))
    monkeypatch.setattr(starts, "_milliseconds", here)
    options = ["--quick", "--repeats", 1, "--before", starts.OWN, "--results", tmp_path / "results"]
    assert run(monkeypatch, script, *options) == 0
    (folder,) = tmp_path.glob("results/*")
    rows = pd.concat([pd.read_csv(folder / f"{part}.csv") for part in script.PARTS])
    assert rows["case"].nunique() == 4 and (rows["contender"] == "dal").sum() == 4 and rows["ratio"].notna().all()
    assert rows["contender"].str.startswith("dal, ").sum() == 4 and (rows["median ms"] > 0).sum() >= 7
    assert all(f"## {part}" in (folder / "README.md").read_text() for part in script.PARTS)
