"""A process that dal starts imports nothing from a folder from elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

from dal.runtime.python_command import python_command


def test_a_file_in_the_current_folder_is_not_imported_in_place_of_a_module(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    done = subprocess.run([*python_command("json.tool"), os.devnull], capture_output=True, check=False)
    assert b"Expecting value" in done.stderr and not (tmp_path / "ran").exists()


def test_a_process_that_imports_from_the_current_folder_starts_others_that_do_so(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert python_command("dal") == [sys.executable, "-m", "dal"]
    monkeypatch.setattr(sys, "path", [str(Path.cwd())])
    assert "-P" not in python_command("dal")
