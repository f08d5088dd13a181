"""The run folder as people use it: its images, classes and settings, without PyTorch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dal.data.grid import Grid, UnitIds
from dal.data.sources.folder.gone import gone_sentence, new_images_sentence
from dal.data.sources.folder.listing import existing_folder, list_images
from dal.data.sources.folder.names import composed
from dal.errors import DalError, bad_value
from dal.labeling.people.answers import Answers
from dal.labeling.people.first_asks import first_asks, spare_points
from dal.labeling.people.gone import give_up
from dal.labeling.people.masks import MaskBook, UnitPlaces
from dal.labeling.people.page.asked_file import AskedFile
from dal.labeling.people.prefixes import check_prefixes, seen_of
from dal.labeling.people.start import UNLABELED, first_images, read_start
from dal.runs.asked import AskedLine
from dal.runs.files.committed import check_contents, check_file, damaged, parsed, read_bytes
from dal.runs.files.points import committed_ids
from dal.runs.files.state import is_count, read_state
from dal.runs.journal import committed_rounds
from dal.runs.layout import CONFIG, DATA, LABEL_START, STATE
from dal.runs.saved_config import WHEN_ASKED, flatten, read_config
from dal.runtime.refusals import explained


class PeopleRun:
    """A run whose labels come from people.

    ``config`` are the settings of the run. Before the first commit, these are the settings in label.json. Later, that
    file only has those that say when people are asked.

    Raises DalError if the folder is not a run, is damaged, or has another oracle.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        check_contents(self.path)
        self.config: Mapping[str, Any] = self._read()
        kind = self.setting("oracle.kind", "dataset")
        if kind != "people":
            raise DalError(
                f"run: expected a run with oracle=people, got oracle={kind} in {str(self.path)!r}. Start one with "
                "dal label FOLDER --classes NAMES, or dal run oracle=people."
            )

    def _read(self) -> Mapping[str, Any]:
        if os.path.lexists(self.path / CONFIG):
            if self.is_committed:
                check_file(self.path, CONFIG, read_state(self.path))
            return with_changes(self.path, read_config(self.path / CONFIG))
        if os.path.lexists(self.path / LABEL_START):
            config: Mapping[str, Any] = read_start(self.path)["config"]
            return config
        raise DalError(f"run: expected a run folder, got {str(self.path)!r}, which has no {CONFIG}.")

    def setting(self, key: str, default: Any = None) -> Any:
        """Return the value of a dotted key."""
        value: Any = self.config
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """Return a setting that is a whole number. Raises DalError for another value."""
        value = self.setting(key, default)
        if not is_count(value):
            raise bad_value(f"{key} in the settings of {str(self.path)!r}", "a whole number", value)
        return int(value)

    @property
    def is_committed(self) -> bool:
        """Whether the trainer has written its first commit."""
        return os.path.lexists(self.path / STATE)

    @property
    def root(self) -> Path | None:
        """The folder of the images, or None for another kind of data set."""
        root = self.setting("data.root")
        return None if not root else existing_folder("data.root", str(root))

    @cached_property
    def classes(self) -> list[str]:
        """The classes at the start of the run, by number."""
        return first_classes(self.path, self.config)

    @cached_property
    def files(self) -> list[str] | None:
        """The path of each image relative to root, by index, or None if the listing does not number the points.

        The images are those that the run started with, although the folder may have others now.
        """
        if self.setting("data.name") != UNLABELED or self.root is None:
            return None
        first = first_images(self.path, self.root)
        return list(self._listed.values()) if first is None else [self._listed.get(id, id) for id in first.ids]

    @cached_property
    def places(self) -> UnitPlaces | None:
        """The places of the units that people draw masks of, or None for a run on classes."""
        if self.files is None or self.root is None or self.setting("data.task") != "segmentation":
            return None
        size = self.count("data.image_size")
        region_size = self.count("data.region_size") if self.setting("campaign.unit") == "region" else None
        return UnitPlaces(self.root, self.files, Grid(size, size, region_size))

    def mask_book(self) -> MaskBook | None:
        """Return what takes masks, with the classes at present, or None for a run on classes."""
        if self.places is None:
            return None
        return MaskBook(self.path, self.places, len(self.answers.fold.classes.names))

    def _image_of(self, index: int) -> int:
        return index if self.places is None else self.places.image(index)

    @cached_property
    def _listed(self) -> dict[str, str]:
        """The paths of the images that are in the folder now, by id."""
        return {composed(file): file for file in list_images(self.root or Path(), "data.root").files}

    @cached_property
    def lost(self) -> list[str]:
        """The ids of the images that were gone when the run was opened."""
        return [] if self.files is None else [id for id in self.image_ids if id not in self._listed]

    def changes(self) -> list[str]:
        """Return a sentence for the images that are gone, and one for those that are not part of the run."""
        if self.files is None or self.root is None:
            return []
        first = set(self.image_ids)
        new = [id for id in self._listed if id not in first]
        return [
            *([gone_sentence(self.root, self.lost)] if self.lost else []),
            *([new_images_sentence(self.root, new)] if new else []),
        ]

    def give_up(self, lines: Sequence[AskedLine]) -> list[AskedLine]:
        """Answer ``unreadable`` in the name of dal for images that are gone, and return the lines of the others."""
        if self.files is None or self.root is None:
            return list(lines)
        return give_up(self.answers, self.root, self.files, lines, self._image_of)

    @cached_property
    def answers(self) -> Answers:
        """The journal of answers.

        Raises DalError if it lacks events that the trainer has seen, as after a copy of an older file, or has others.
        """
        answers = Answers(self.path, self.classes)
        if self.is_committed:
            state = read_state(self.path)
            answers.refresh()
            check_prefixes(self.path, committed_rounds(self.path, state), seen_of(state))
        return answers

    @cached_property
    def ids(self) -> Sequence[str]:
        """The ids of all points, by index."""
        if self.places is None or self.places.grid.region_size is None:
            return self.image_ids
        return UnitIds(self.image_ids, self.places.grid)

    @cached_property
    def image_ids(self) -> Sequence[str]:
        """The ids of all images, by their number."""
        if self.files is not None:
            return [composed(file) for file in self.files]
        known = committed_ids(self.path, read_state(self.path)) if self.is_committed else None
        if known is not None:
            return known
        by_index = {one.index: one.id for one in self.asked()}
        return [by_index.get(index, "") for index in range(max(by_index, default=-1) + 1)]

    @cached_property
    def indices(self) -> dict[str, int]:
        """The index of each id that people can label."""
        return {id: index for index, id in enumerate(self.ids) if id}

    @cached_property
    def asked(self) -> AskedFile:
        """Returns everything that people were asked for, in order.

        Before the trainer has asked for anything, these are the points that it will ask for first.
        """
        return AskedFile(self.path, self._first_asked())

    def _first_asked(self) -> list[AskedLine]:
        if self.files is None or self.setting("campaign.initial", "random") != "random":
            return []  # the trainer chooses them
        test, validation, initial = (
            self.count(f"campaign.{name}", 0) for name in ("test_size", "validation_size", "initial_size")
        )
        query_size, budget = (self.count(f"campaign.{name}", 0) for name in ("query_size", "budget"))
        held = test + validation
        return first_asks(
            self.ids,
            self.count("seed", 0),
            test_size=test,
            validation_size=validation,
            initial_size=initial,
            spare=spare_points(initial, query_size, budget - held, len(self.ids) - held),
        )

    def discard_start(self) -> None:
        """Remove the settings of a run that could not start and has no answers."""
        with explained(path=self.path):
            (self.path / LABEL_START).unlink(missing_ok=True)


def with_changes(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run with the last values that `dal label` got for when people are asked."""
    if not os.path.lexists(path / LABEL_START):
        return dict(config)
    given = dict(flatten(read_start(path)["config"]))
    changes = {key.partition(".")[2]: given[key] for key in sorted(WHEN_ASKED & given.keys())}
    return {**config, "oracle": {**config.get("oracle", {}), **changes}}


def has_page(folder: Path) -> bool:
    """Return whether the settings of a run say where its images are.

    Those of a program with its own data do not.
    """
    if os.path.lexists(folder / LABEL_START) or not os.path.lexists(folder / CONFIG):
        return os.path.lexists(folder / LABEL_START)
    config = read_config(folder / CONFIG)
    named = (config.get("data"), config.get("acquisition"))
    return isinstance(config.get("model"), Mapping) and all(isinstance(one, Mapping) and "name" in one for one in named)


def first_classes(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Return the classes with which a run started, by number. Raises DalError if data.json is missing or damaged."""
    data_settings = config.get("data")
    given = data_settings.get("classes") if isinstance(data_settings, Mapping) else None
    if isinstance(given, list) and given:
        return [composed(str(name).strip()) for name in given]
    if not os.path.lexists(folder / DATA):
        raise DalError(
            f"run: expected {DATA} in {str(folder)!r}, got no such file. Start the run again with its command or "
            "program."
        )
    data = read_bytes(folder, DATA)
    facts: Any = parsed(folder, DATA, lambda: json.loads(data))
    names = facts.get("classes") if isinstance(facts, dict) else None
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise damaged(folder, DATA, "it has no classes")
    return names
