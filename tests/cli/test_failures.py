"""Errors of memory and of users' own files: one sentence, and no traceback."""

import pytest
import torch

from dal.cli.failures import explanation
from dal.cli.main import main
from dal.errors import DalError

QUICK = ["campaign.initial_size=8", "campaign.query_size=8", "campaign.budget=16", "campaign.validation_size=0"]
QUICK += ["data.max_train=60", "training.min_updates=0", "training.max_updates=2", "training.check_every=2"]
FILE = """
from dataclasses import dataclass
import torch
from dal.acquisition.base import AcquisitionFunction, ScoreFunction

@dataclass(frozen=True)
class Mine(ScoreFunction):
    place: str = "score"

    def __post_init__(self):
        self.fail("init")

    def fail(self, place):
        if self.place == place:
            raise {error}

    def score(self, model, x):
        self.fail("score")
        return model.features(x)[:, 0]

    def select(self, *arguments):
        self.fail("select")
        return super().select(*arguments)
"""


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["run", *QUICK, *map(str, arguments)])
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("Loading", "Warning"))]
    return caught.value.code or 0, lines


@pytest.mark.parametrize("place", ["score", "select", "init"])
def test_an_error_of_an_own_function_is_one_sentence_with_its_line(place, tmp_path, capsys):
    file = tmp_path / f"mine_{place}.py"
    file.write_text(FILE.replace("{error}", "KeyError('two\\nlines')"))
    status, err = call(capsys, f"acquisition={file}", f"acquisition.place={place}", f"run_dir={tmp_path / 'run'}")
    assert status == 2 and len(err) == 1
    assert err[0] == f"Error: {file}, line 15: expected no error, got KeyError: 'two\\nlines'."


def test_a_library_error_in_an_own_function_names_the_own_line(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("import torch\n\ndef f():\n    return torch.zeros(2) @ torch.zeros(3)\n")
    space = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    with pytest.raises(RuntimeError) as caught:
        space["f"]()
    sentence, status = explanation(caught.value)
    assert f"{file}, line 4: expected no error, got RuntimeError: " in sentence and status == 2 and "\n" not in sentence


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_lack_of_memory_is_one_sentence_with_a_remedy(error, monkeypatch, tmp_path, capsys):
    def score(*arguments, **options):
        raise error

    monkeypatch.setattr("dal.loop.select_points", score)
    status, err = call(capsys, f"run_dir={tmp_path / 'run'}")
    assert status == 1 and len(err) == 1 and err[0].startswith("Error: memory: expected less use, got: ")
    assert "scoring.batch_size" in err[0]


def test_an_error_of_dal_itself_keeps_its_traceback():
    with pytest.raises(TypeError) as caught:
        torch.zeros(object())
    # The frames of this test stand for a user's code.
    assert explanation(caught.value.with_traceback(caught.tb.tb_next)) is None
    assert explanation(DalError("x").with_traceback(caught.tb)) is None
