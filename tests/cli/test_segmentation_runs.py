"""A segmentation campaign from the command line: regions are bought, ranked and reported."""

import csv
import json
import re

import pytest

from dal.campaign import campaign as loop
from dal.cli.main import main
from dal.config.saved_run import config_to_rank

TINY = [
    "experiment=scenes",
    "data.items=digits",
    "data.train_size=8",
    "data.test_size=3",
    "campaign.initial_size=6",
    "campaign.query_size=5",
    "campaign.budget=16",
    "training.min_updates=1",
    "training.max_updates=2",
    "acquisition.max_per_image=1",
]


def call(capsys, *arguments):
    """In this process: (exit status, what was printed, errors)."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return caught.value.code or 0, printed.out, printed.err


def interrupted(rows):
    def answers(oracle, records, real=loop._answers):
        if len(records.rows) == rows:
            raise KeyboardInterrupt
        return real(oracle, records)

    return answers


def test_a_campaign_of_regions_resumes_ranks_and_is_reported(tmp_path, capsys, monkeypatch):
    run = tmp_path / "scenes" / "entropy"
    with monkeypatch.context() as stopped:
        stopped.setattr(loop, "_answers", interrupted(2))
        status, out, _ = call(capsys, "run", *TINY, f"run_dir={run}")
    assert status == 130 and "Stopped after 2 rounds. The same command resumes the run." in out
    status, out, err = call(capsys, "run", *TINY, f"run_dir={run}")
    assert status == 0, err
    assert "8 images in 128 regions in the pool, 3 test images, 5 classes" in out and "after round 1" in out
    rounds = [line.split() for line in out.splitlines() if line.startswith("round")]
    assert [line[2:6] for line in rounds] == [[n, "regions", "test", "mIoU"] for n in ("6", "11", "16")]
    assert "Test mIoU" in out and "with 6 regions to" in out and "regions  updates" in out
    with (run / "selections.csv").open() as file:
        bought = [(row["round"], row["id"]) for row in csv.DictReader(file)]
    assert len(set(bought)) == 16 and all("#r" in name for _, name in bought)
    images = [name.partition("#")[0] for when, name in bought if when == "2"]
    assert len(images) == len(set(images)) == 5  # one region of an image in a query

    status, out, _ = call(capsys, "rank", run, "--top", 4)
    assert status == 0 and "4 regions ranked by entropy" in out
    with (run / "ranking_entropy.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 4 and not {row["id"] for row in rows} & {name for _, name in bought}
    edges = [int(number) * 8 for number in re.findall(r"\d+", rows[0]["id"].partition("#")[2])]
    assert [int(rows[0][key]) for key in ("y", "x", "width", "height")] == [*edges, 8, 8]
    status, out, err = call(capsys, "rank", run, "acquisition=margin", "--top", 2, "--format", "coco")
    assert status == 0, err
    found = json.loads((run / "ranking_margin.json").read_text())
    assert [one["bbox"][2:] for one in found["annotations"]] == [[8, 8]] * 2
    # Another function scores units as the function of the run does.
    kept = config_to_rank(run, ["acquisition=bald"])["acquisition"]
    assert (kept["name"], kept["max_per_image"], kept["pool"]) == ("bald", 1, "mean")
    changed = config_to_rank(run, ["acquisition.max_per_image=3", "acquisition=bald", "acquisition.pool=sum"])
    assert (changed["acquisition"]["max_per_image"], changed["acquisition"]["pool"]) == (3, "sum")

    # Other regions would have the positions of bought ones.
    for setting, expected in (
        ("data.region_size=4", 8),
        ("data.image_size=64", None),
        ("campaign.unit=image", "region"),
    ):
        status, _, err = call(capsys, "rank", run, setting)
        assert status == 2 and (expected is None or f"expected {expected}, as at the start of the run" in err), err
    status, _, err = call(capsys, "rank", run, "--top", 0)
    assert status == 2 and "--top: expected a whole number from 1 to 112, the number of points, got 0." in err

    status, out, _ = call(capsys, "explain", run, "--no-images")
    said = " ".join(out.split())
    assert status == 0 and "of this run, the page shows only what the journal has, such as the mIoU by round." in said
    status, out, _ = call(capsys, "report", run)
    assert status == 0 and "mIoU" in out and "clicks" in out
    status, _, err = call(capsys, "run", *TINY, f"run_dir={run}", "campaign.unit=image")
    assert status == 2 and "campaign.unit: expected 'region', as at the start of the run" in err
