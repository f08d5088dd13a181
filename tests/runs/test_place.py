"""A place where no run folder can be is one sentence with a remedy, and its status tells who refuses."""

import errno
import os
import socket
from pathlib import Path

import pytest

from dal.errors import DalError
from dal.runs.files.committed import check_file
from dal.runs.folder import RunFolder
from dal.runtime.refusals import RefusedBySystem


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket has a short path
    Path("file").write_text("x")
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        Path("dangling").symlink_to("nowhere")
        Path("circle").symlink_to("circle")
        yield


@pytest.mark.parametrize(
    ("place", "by_system", "message"),
    [
        ("file", False, "'file' is a file. Choose another run_dir."),
        ("/dev/null", False, "'/dev/null' is a pipe, a socket or a device. Choose another run_dir."),
        ("fifo", False, "'fifo' is a pipe, a socket or a device. Choose another run_dir."),
        ("socket", False, "'socket' is a pipe, a socket or a device. Choose another run_dir."),
        ("dangling", False, "'dangling' is a link that leads to no folder. Choose another run_dir."),
        ("circle", False, "'circle' is a link that leads to no folder. Choose another run_dir."),
        ("circle/run", True, "Choose another path, because links of this one lead in a circle."),
        ("file/run", True, "Choose another path, because a part of this one is a file."),
        ("/dev/null/run", True, "Choose another path, because a part of this one is a file."),
        ("x" * 300, True, "Choose a shorter path."),
        ("/".join(["y" * 100] * 60), True, "Choose a shorter path."),
        ("/proc/run", True, "Choose another path, or create its folder."),
    ],
)
@pytest.mark.usefixtures("places")
def test_a_place_for_no_folder(place, by_system, message):
    with pytest.raises(DalError) as error:
        RunFolder(place, {}, "1f")
    assert str(error.value).startswith("run_dir: '") and str(error.value).endswith(message)
    assert isinstance(error.value, RefusedBySystem) == by_system and len(str(error.value)) < 500


def test_without_permission_the_system_refuses_writing_and_reading(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    (tmp_path / "config.yaml").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(
            RefusedBySystem, match=r"run' cannot be used \(Permission denied\)\. Choose another run_dir"
        ):
            RunFolder(tmp_path / "run", {}, "1f")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        RefusedBySystem, match=r"config.yaml' cannot be used \(Permission denied\)\. Give yourself perm"
    ):
        check_file(tmp_path, "config.yaml", {"digests": {"config.yaml": "1f"}})
