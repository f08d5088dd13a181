"""A segmentation campaign from the command line: regions are bought, ranked and reported."""

import csv

import pytest

from dal.campaign import campaign as loop
from dal.cli.main import main

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
        ranked = [row["id"] for row in csv.DictReader(file)]
    assert len(ranked) == 4 and not set(ranked) & {name for _, name in bought}

    status, out, _ = call(capsys, "explain", run, "--no-images")
    said = " ".join(out.split())
    assert status == 0 and "of this run, the page shows only what the journal has, such as the mIoU by round." in said
    status, out, _ = call(capsys, "report", run)
    assert status == 0 and "mIoU" in out and "clicks" in out
    status, _, err = call(capsys, "run", *TINY, f"run_dir={run}", "campaign.unit=image")
    assert status == 2 and "campaign.unit: expected 'region', as at the start of the run" in err
