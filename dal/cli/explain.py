"""`dal explain`: the page of a run."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dal.errors import DalError
from dal.reports.explanation import FOLDER, PAGE, ImageOf, explain, output_folder
from dal.reports.explanation.page import still
from dal.runs.files.atomic import write_text
from dal.runs.files.committed import is_folder, is_ours
from dal.runs.files.state import State, read_state
from dal.runs.layout import DONE, STATE
from dal.runtime.console import SafeConsole
from dal.runtime.safe_text import visible

POLL_SECONDS = 2.0
NOT_WANTED = "There are no thumbnails, because the page was made with --no-images."


def explain_command(run: str, output: str | None = None, images: bool = True, watch: bool = False) -> int:
    """Explain a run, and return the exit status.

    With ``watch``, wait for the first round, and draw the page again after each round until the run is done. Ctrl-C
    ends this too. Raises DalError as explain() does.
    """
    path = Path(run)
    if not watch or (not _is_starting(path) and read_state(path)["stage"] == DONE):
        read_state(path)  # before loading images
        image_of, no_images = _images(path, images)
        explain(path, output, image_of, no_images=no_images)
        return 0
    try:
        _watch(path, output, images)
    except KeyboardInterrupt:
        _end(output_folder(path, output) / PAGE)
    return 0


def _is_starting(run: Path) -> bool:
    """Whether a run may begin in this folder: it has no commit yet, and nothing that is not of a run."""
    if not is_folder(run) or os.path.lexists(run / STATE):
        return False
    return all(is_ours(name) or name == FOLDER for name in (path.name for path in run.iterdir()))


def _images(run: Path, wanted: bool) -> tuple[ImageOf | None, str]:
    if not wanted:
        return None, NOT_WANTED
    from dal.cli.thumbnails import images_of  # loads PyTorch, which a page without images does not need

    return images_of(run)


def _watch(run: Path, output: str | None, images: bool) -> None:
    _wait_for_a_round(run, output)
    image_of, no_images = _images(run, images)
    drawn = 0
    while True:
        state = read_state(run)
        is_done = state["stage"] == DONE
        if state["rounds"] != drawn or is_done:
            if not _explained(run, output, image_of, no_images, state):
                continue
            drawn = state["rounds"]
        if is_done:
            return
        time.sleep(POLL_SECONDS)


def _wait_for_a_round(run: Path, output: str | None) -> None:
    """Wait until a run has a finished round, and say so."""
    output_folder(run, output)  # a wrong output is an error now, and not after the first round
    is_said = False
    while _is_starting(run) or not read_state(run)["rounds"]:
        if not is_said:
            sentence = f"run: {run} has no finished round yet. The page follows after the first one."
            SafeConsole().print(visible(sentence), markup=False, highlight=False, soft_wrap=True)
            is_said = True
        time.sleep(POLL_SECONDS)


def _explained(run: Path, output: str | None, image_of: ImageOf | None, no_images: str, state: State) -> bool:
    """Draw the page, and return False if the run went on meanwhile and the files no longer fit together."""
    try:
        explain(run, output, image_of, no_images=no_images, live=state["stage"] != DONE)
    except DalError:
        if read_state(run) == state:
            raise
        return False
    return True


def _end(page: Path) -> None:
    """Stop the page from loading itself again."""
    if page.is_file():
        write_text(page, still(page.read_text(encoding="utf-8")))
