"""Dataclasses are read from their source text, without running it."""

import textwrap
from pathlib import Path

import pytest

from dal.config.source import PACKAGE, Field, fields_of, find_class, find_value, first_sentence, module_file, subclasses


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "module.py"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


def test_a_sentence_stands_below_a_field_in_its_arguments_or_beside_it(file):
    path = file(
        '''
        LARGE = 2 * 10
        SMALL = 3

        @dataclass
        class Base:
            """A base.

            Args:
                width: Pixels of ½ a side. More
                    words.
                height: Not this one.
            """

            counted: ClassVar[int] = 0
            width: int = SMALL
            height: int = 4
            """Pixels down,
            all of them."""

        class Child(Base):
            depth: float | None = None  # "ü" = pixels behind
            bare: str = "no # comment"
            large: int = LARGE
            names: list[str] = field(default_factory=lambda: ["a", "b"])
            kept: int = field(default=7, repr=False)
            derived: int = field(default=1, init=False)
        '''
    )
    assert fields_of(find_class(path, "Child")) == [
        Field("width", 3, "Pixels of ½ a side.", "Base"),
        Field("height", 4, "Pixels down, all of them.", "Base"),
        Field("depth", None, '"ü" = pixels behind', "Child"),
        Field("bare", "no # comment", "", "Child"),
        Field("large", "LARGE", "", "Child"),
        Field("names", ["a", "b"], "", "Child"),
        Field("kept", 7, "", "Child"),
    ]


def test_names_are_followed_through_imports(file):
    path = file(
        """
        from dal.models import ModelConfig as Network
        from dal.training.config import MONITORS
        from torch import nn
        """
    )
    found = find_class(path, "Network")
    assert found.node.name == "ModelConfig" and found.file == PACKAGE / "models" / "config.py"
    assert "val_loss" in find_value(path, "MONITORS")
    assert find_class(path, "nn") is None and find_class(path, "MONITORS") is None
    with pytest.raises(ValueError, match="nn: expected a constant in"):
        find_value(path, "nn")
    assert module_file("torch.nn") is None
    assert module_file("dal.models") == Path(PACKAGE / "models" / "__init__.py")


def test_subclasses_are_those_that_the_file_defines(file):
    path = file(
        """
        from dal.acquisition import BALD, ScoreFunction

        class Anchors: ...
        class Mine(ScoreFunction): ...
        class Narrow(BALD):
            share: float = 0.5
        """
    )
    assert [one.node.name for one in subclasses(path, "AcquisitionFunction")] == ["Mine", "Narrow"]
    assert [f.name for f in fields_of(find_class(path, "Narrow"))] == ["num_draws", "share"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One. Two.", "One."),
        ("About 0.5 of\n  them", "About 0.5 of them"),
        ("Head\n\nBody.", "Head"),
        ("", ""),
    ],
)
def test_the_first_sentence_ends_at_a_period_or_a_paragraph(text, sentence):
    assert first_sentence(text) == sentence
