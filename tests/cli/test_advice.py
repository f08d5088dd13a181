"""What `dal run` advises at its end."""

import io

import pytest
from rich.console import Console

from dal.cli.advice import advise


def advised(path, kind="dataset", overrides=()):
    output = io.StringIO()
    config = {"acquisition": {"name": "margin"}, "seed": 0, "oracle": {"kind": kind}}
    advise(Console(file=output, width=200), config, path, overrides)
    return [line.strip().partition("   ")[0] for line in output.getvalue().splitlines()[2:]]


@pytest.mark.parametrize("has_records", [True, False])
def test_it_names_commands_for_this_run(tmp_path, has_records):
    run = tmp_path / "margin" / "seed0"
    run.mkdir(parents=True)
    if has_records:
        (run / "dynamics_000.npz").write_bytes(b"")
    explain = [f"dal explain {run}"] if has_records else []  # without them, the page has little to say
    assert advised(run, overrides=["model.lr=0.1"]) == [
        "dal run acquisition=random model.lr=0.1",
        f"dal report {tmp_path}",
        f"dal rank {run}",
        *explain,
        "dal run --help",
    ]


def test_people_do_not_label_everything_once_more(tmp_path):
    assert advised(tmp_path, kind="people")[0] == f"dal replay {tmp_path}"
