import os

import pytest

from dal.errors import DalError
from dal.runs.files.output import output_file


def test_a_link_leads_to_its_target_even_a_missing_one(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to(tmp_path / "new" / "c")
    assert output_file(tmp_path / "a") == tmp_path / "new" / "c"
    assert output_file(tmp_path / "plain") == tmp_path / "plain"


@pytest.mark.parametrize("linked", [False, True])
def test_folders_and_pipes_are_refused(tmp_path, linked):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, kind in (("pipe", "a pipe, a socket or a device"), ("folder", "a folder")):
        path = tmp_path / name
        if linked:
            path = tmp_path / f"{name}-link"
            path.symlink_to(tmp_path / name)
        with pytest.raises(DalError, match=rf"^output: expected a file, got '{path}', which is {kind}\.$"):
            output_file(path)


def test_a_circle_of_links_is_one_sentence(tmp_path):
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(DalError, match=r"^output: '.*a' cannot be used"):
        output_file(tmp_path / "a")
