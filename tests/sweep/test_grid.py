"""The cells of a grid, each as a command line and as the configuration that this makes."""

import pytest

from dal.config.overrides import compose
from dal.errors import DalError
from dal.sweep.grid import common_folder, expand


def test_every_combination_once_and_as_composed_alone():
    cells = expand(["acquisition=random,bald", "seed=range(3)", "experiment=fashion_mnist", "training.batch_size=8"])
    assert [cell.name for cell in cells] == [f"{f}, seed {s}" for f in ("random", "bald") for s in range(3)]
    assert cells[4].overrides == ("acquisition=bald", "seed=1", "experiment=fashion_mnist", "training.batch_size=8")
    assert [cell.config for cell in (cells[0], cells[5])] == [
        compose(list(cell.overrides)) for cell in (cells[0], cells[5])
    ]
    assert str(common_folder(cells)) == "runs/fashion_mnist"
    assert {cell.row for cell in cells} == {"random", "bald"}


def test_rows_name_what_is_swept_but_the_seed():
    run_dir = "run_dir=r/${acquisition.num_draws}/${model.lr}/${seed}"
    cells = expand(["acquisition=bald", "acquisition.num_draws=5,10", "model.lr=0.1,0.2", "seed=7", run_dir])
    assert [cell.row for cell in cells][:2] == ["bald, num_draws=5, lr=0.1", "bald, num_draws=5, lr=0.2"]
    assert [str(cell.run_dir) for cell in cells][:2] == ["r/5/0.1/7", "r/5/0.2/7"]


def test_a_path_with_blanks_and_a_single_cell():
    (cell,) = expand(["run_dir=my runs/a=b", "seed=3"])
    assert str(cell.run_dir) == "my runs/a=b" and cell.name == "margin, seed 3"
    assert compose(list(cell.overrides)) == cell.config


def test_two_cells_in_one_folder_are_refused_with_what_to_write():
    with pytest.raises(
        DalError, match=r"for margin, lr=0\.1, seed 0 and for margin, lr=0\.2, seed 0\. Include the swept keys"
    ) as caught:
        expand(["model.lr=0.1,0.2"])
    advice = str(caught.value).partition("such as '")[2].rstrip("'.")
    cells = expand(["model.lr=0.1,0.2", advice])
    assert [str(c.run_dir) for c in cells] == [f"runs/digits/margin/lr={v}/seed0" for v in (0.1, 0.2)]


@pytest.mark.parametrize(
    "overrides,message",
    [
        (["model.lr=interval(0,1)"], r"model.lr: expected a list of values, got model.lr=interval\(0,1\)"),
        (["acquisition=random,blad"], "did you mean bald"),
        (["seed=1,x"], "seed: expected a whole number, got x."),
    ],
)
def test_wrong_grids(overrides, message):
    with pytest.raises(DalError, match=message):
        expand(overrides)
