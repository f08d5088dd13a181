"""`dal ask` and `dal tell`: questions and answers as files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dal.errors import bad_value
from dal.labeling.people.events import DAL, is_annotator
from dal.labeling.people.formats.mask_folder import write_units
from dal.labeling.people.formats.outgoing import asked_text
from dal.labeling.people.people_run import PeopleRun
from dal.labeling.people.telling import tell_file
from dal.labeling.people.wanted import wanted
from dal.runs.asked import AskedLine
from dal.runs.files.atomic import write_text
from dal.runs.files.output import output_file
from dal.runtime.refusals import explained
from dal.runtime.safe_text import visible
from dal.runtime.user_paths import user_path


def ask_command(run: str, size: int | None, format: str, output: str | None, files: str | None = None) -> None:
    """Write the images or regions that people are asked for, best first.

    They are the same until something is told. ``files`` is a folder for the pixels of regions, in which people put the
    masks. Raises DalError as PeopleRun does.
    """
    if size is not None and size < 1:
        raise bad_value("--size", "at least 1", size)
    opened = PeopleRun(run)
    answers = opened.answers
    answers.refresh()
    asked = opened.give_up(wanted(opened.asked(), answers.fold, opened.count("oracle.overlap", 1)))[:size]
    if files is not None:
        _write_files(opened, run, asked, user_path(files))
        return
    boxes = None if opened.places is None else [opened.places.of(line.index).box for line in asked]
    text = asked_text(asked, format, boxes)
    if output is None:
        sys.stdout.write(text)
        return
    target = user_path(output)
    file = output_file(target)
    with explained("output", target, "Choose another file with --output."):
        write_text(file, text)
    print(visible(f"{len(asked):,} images to label: {target}. Then: dal tell {run} {target}"))


def _write_files(opened: PeopleRun, run: str, asked: Sequence[AskedLine], folder: Path) -> None:
    if opened.places is None:
        expected = "a run with data.task=segmentation, in which people draw masks"
        raise bad_value("--files", expected, opened.setting("data.task", "classification"))
    write_units(folder, asked, opened.places, opened.answers.fold.classes.names)
    print(visible(f"{len(asked):,} masks to draw: {folder}. Then: dal tell {run} {folder}"))


def tell_command(run: str, file: str, annotator: str, format: str, dry_run: bool) -> None:
    """Record the answers in a file, all or none, and print what is new.

    Raises DalError as tell_file() does.
    """
    if not is_annotator(annotator) or annotator == DAL:
        raise bad_value("--annotator", f"1 to 64 letters, digits or ._@-, and not {DAL}", annotator)
    opened = PeopleRun(run)
    path = user_path(file)
    opened.answers.refresh()
    result = tell_file(
        opened.answers,
        opened.indices,
        opened.asked(),
        path,
        annotator=annotator,
        format=format,
        dry_run=dry_run,
        masks=opened.mask_book(),
    )
    print(f"{result.sentence()}{' (a dry run: nothing is recorded)' if dry_run else ''}.")
