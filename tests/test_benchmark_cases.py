"""Every case of the benchmarks of speed, memory and growth runs at a small size, from the command to the README."""

import dataclasses
import gc
import importlib
import sys
from argparse import Namespace

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
    (folder,) = tmp_path.glob("results/*")
    readme = (folder / "README.md").read_text()
    assert all(f"## {part}\n" in readme for part in parts) and len(list(folder.glob("*.png"))) == 1
    return pd.concat([pd.read_csv(folder / f"{part}.csv") for part in parts])


def test_the_networks_of_the_inputs_train_once(monkeypatch, capsys):
    fashion = imported("fashion")
    run(monkeypatch, fashion)
    run(monkeypatch, fashion)
    first, second = capsys.readouterr().out.split("small_cnn: ")[1:]
    assert first == second and "features (600, 512)" in first


def test_all_cases_of_speed(monkeypatch, tmp_path):
    speed = imported("speed")

    def tiny(cases):
        return lambda threads, quick: [
            dataclasses.replace(case, sizes=case.sizes | case.tiny) for case in cases(threads, quick)
        ]

    for part, (cases, text) in list(speed.PARTS.items()):
        monkeypatch.setitem(speed.PARTS, part, (tiny(cases), text))
    options = ["--quick", "--repeats", 1, "--no-memory", "--threads", 1]
    assert run(monkeypatch, speed, *options, "--results", tmp_path / "results") == 0
    rows = results(tmp_path, speed.PARTS)
    assert rows["contender"].str.startswith("dal").sum() == 9 + 13 and rows["case"].nunique() == 8 + 13
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


def test_all_cases_of_growth(monkeypatch, tmp_path):
    scale = imported("scale")
    small = {"pool": [1000, 2000], "features": [8, 16], "classes": [2, 4], "picks": [2, 4], "draws": [2, 4]}
    for part, (build, sizes, text) in list(scale.PARTS.items()):
        monkeypatch.setitem(scale.PARTS, part, (build, {name: small[name] for name in sizes}, text))
    options = ["--quick", "--repeats", 1, "--no-memory", "--threads", 1]
    assert run(monkeypatch, scale, *options, "--results", tmp_path / "results") == 0
    assert len(results(tmp_path, scale.PARTS)) == 2 * (3 + 4 + 3)


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
