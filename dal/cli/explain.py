"""`dal explain`: the page of a run."""

from __future__ import annotations

import time
from pathlib import Path

from dal.errors import DalError
from dal.reports.explanation import PAGE, ImageOf, explain, output_folder
from dal.reports.explanation.page import still
from dal.runs.files.atomic import write_text
from dal.runs.files.state import State, read_state
from dal.runs.layout import DONE
from dal.runtime.console import SafeConsole
from dal.runtime.safe_text import visible

POLL_SECONDS = 2.0
NOT_WANTED = "There are no thumbnails, because the page was made with --no-images."


def explain_command(run: str, output: str | None = None, images: bool = True, watch: bool = False) -> int:
    """Explain a run, and return the exit status.

    With ``watch``, draw the page again after each round until the run is done. Ctrl-C ends this too. Raises DalError as
    explain() does.
    """
    path = Path(run)
    state = read_state(path)
    image_of, no_images = _images(path) if images else (None, NOT_WANTED)
    if not watch or state["stage"] == DONE:
        explain(path, output, image_of, no_images=no_images)
        return 0
    try:
        _watch(path, output, image_of, no_images)
    except KeyboardInterrupt:
        _end(output_folder(path, output) / PAGE)
    return 0


def _images(run: Path) -> tuple[ImageOf | None, str]:
    from dal.cli.thumbnails import images_of  # loads PyTorch, which a page without images does not need

    return images_of(run)


def _watch(run: Path, output: str | None, image_of: ImageOf | None, no_images: str) -> None:
    console = SafeConsole()
    drawn = 0
    while True:
        state = read_state(run)
        is_done = state["stage"] == DONE
        if state["rounds"] and (state["rounds"] != drawn or is_done):
            if _explained(run, output, image_of, no_images, state):
                drawn = state["rounds"]
            else:
                continue
        elif not drawn:
            sentence = f"run: {run} has no finished round yet."
            console.print(visible(sentence), markup=False, highlight=False, soft_wrap=True)
            drawn = -1
        if is_done:
            return
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
