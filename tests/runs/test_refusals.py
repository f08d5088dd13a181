"""The operating system's no is a sentence, and leaves a folder that resumes."""

import errno
import io
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from helpers import synthetic_runs
from rich.console import Console

from dal.cli.main import main
from dal.errors import DalError
from dal.reports.comparison import compare
from dal.reports.overview import report
from dal.runs.files import atomic
from dal.runs.final_model import commit_final_model, read_final_model
from dal.runs.folder import RunFolder
from dal.runs.journal import Asked
from dal.runs.restored import read_run_folder
from dal.runtime.refusals import RefusedBySystem

CODES = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE", "ENAMETOOLONG", "EIO")


class Refusing:
    """Raises an OSError at the operation with this number: an opening, write, fsync, replacement, removal or mkdir."""

    def __init__(self, patch, code, at):
        self.code, self.left = code, at
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (Path, "open")):
            self._watch(patch, owner, name)
        patch.setattr(atomic, "append_text", self._half(atomic.append_text))
        patch.setattr("dal.runs.folder.append_text", atomic.append_text)

    def _watch(self, patch, owner, name):
        real = getattr(owner, name)

        def call(*arguments, **options):
            if name != "open" or set(arguments[1] if len(arguments) > 1 else options.get("mode", "r")) & set("wax+"):
                self.count(arguments[0])
            return real(*arguments, **options)

        patch.setattr(owner, name, call)

    def _half(self, real):
        def append(path, text, at=None):
            if self.left == 1:  # a full disk takes a part of the text
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(descriptor, text.encode()[: len(text) // 2])
                os.close(descriptor)
            return real(path, text, at)

        return append

    def count(self, what):
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code), str(what))


def campaign(path):
    """Two rounds, from where the folder is. Returns what is recorded."""
    folder = RunFolder(path, synthetic_runs.config_of(), "aaaa")
    try:
        folder.follow("accuracy")
        for row in synthetic_runs.rows_of([0.5, 0.6], labels=[1, 2])[len(folder.rows) :]:
            point = Asked(row["round"], 0, row["round"], "image", None)
            if folder.stage == "select":
                folder.commit_query([point], {}, torch.zeros(3, dtype=torch.float64))
            if folder.stage == "answer":
                folder.commit_selection([point.answered(0)])
            folder.keep_weights({"weight": torch.ones(2)})
            folder.commit_round(row)
        return folder.stage, folder.rows, folder.selections
    finally:
        folder.close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr("dal.runs.environment.environment", dict)
    monkeypatch.setattr(RunFolder, "_write_tensorboard", lambda self, rows: None)


def test_every_refused_operation_is_a_sentence_and_the_run_resumes(quick, tmp_path):
    expected = campaign(tmp_path / "whole")
    at, refused = 1, True
    while refused:
        code = getattr(errno, CODES[at % len(CODES)])
        path = tmp_path / str(at) / "run"
        path.parent.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            refusing = Refusing(patch, code, at)
            try:
                campaign(path)
            except DalError as error:
                assert os.strerror(code) in str(error) and "\n" not in str(error)
            refused = refusing.left <= 0
        assert not list(path.glob(".*.new"))
        assert campaign(path) == expected, at
        assert read_run_folder(path, "aaaa").rows == expected[1]
        at += 1
    assert at > 40


@pytest.mark.parametrize("room", [0, 100, 1200])
def test_tensors_on_a_full_disk_raise_the_error_of_the_system(tmp_path, monkeypatch, room):
    """PyTorch raises a RuntimeError when it closes an archive that could not be written."""

    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    monkeypatch.setattr(atomic, "replacing", lambda path: nullcontext(Full()))
    with pytest.raises(OSError, match="No space left on device"):
        atomic.save_tensors(tmp_path / "weights.pt", {"weight": torch.ones(300)})


def test_a_refused_final_model_does_not_count(quick, tmp_path):
    path = synthetic_runs.write_real_run(tmp_path / "run", [0.5])
    row = {"backbone": "small_cnn", "num_labeled": 10, "labels_bought": 10, "updates": 3}
    for at in range(1, 12):
        with pytest.MonkeyPatch.context() as patch:
            Refusing(patch, errno.ENOSPC, at)
            with pytest.raises(RefusedBySystem, match="No space left on device"):
                commit_final_model(path, row, {"weight": torch.ones(2)})
        assert read_final_model(path) in (None, row)
    commit_final_model(path, row, {"weight": torch.ones(2)})
    assert read_final_model(path) == row
    commit_final_model(path, row | {"updates": 4}, {"weight": torch.ones(2)})
    (path / "final_model.json").write_text((path / "final_model.json").read_text().replace("4", "5"))
    with pytest.raises(DalError, match=r"^run: final_model.json in .* is damaged"):
        read_final_model(path)


def test_reports_of_a_read_only_folder_name_the_option(tmp_path, monkeypatch):
    runs = [
        synthetic_runs.write_paired_run(tmp_path / name, [0.5, 0.6], acquisition=name) for name in ("random", "margin")
    ]

    def refuse(path, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for command in (report, compare):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "mkdir", refuse)
            patch.setattr("dal.runs.files.atomic.os.fsync", refuse)
            with pytest.raises(RefusedBySystem, match=r"^output: .* \(Read-only file system\)\. .*--output\.$"):
                command(runs, console=Console(quiet=True))


def test_the_command_line_exits_with_1(tmp_path, monkeypatch, capsys):
    path = synthetic_runs.write_run(tmp_path / "run", [0.5, 0.6])

    def refuse(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "picture.png")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", refuse)
    with pytest.raises(SystemExit) as caught:
        main(["report", str(path)])
    error = capsys.readouterr().err
    assert caught.value.code == 1 and error.startswith("Error: ") and error.count("\n") == 1
    assert "(No space left on device). Free space on its disk, then repeat the command." in error
    monkeypatch.setattr("dal.reports.overview.read_runs", refuse)  # outside of any block that explains
    with pytest.raises(SystemExit) as caught:
        main(["report", str(path)])
    assert caught.value.code == 1 and capsys.readouterr().err.startswith("Error: file: 'picture.png' cannot be used")
