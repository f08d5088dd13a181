"""The console of all commands, which prints user text without interpreting it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from dal.runtime.safe_text import visible


class SafeConsole(Console):
    """A console that prints text literally.

    Markup such as ``[bold]`` is printed as text. Control characters and characters outside the output encoding are
    printed as escapes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"markup": False, "emoji": False, "highlight": False} | options))

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text, keep="\n"), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:  # a Text, which render_str() does not process
                yield Segment(encodable(visible(segment.text, keep="\n"), self.encoding), segment.style)


def encodable(text: str, encoding: str | None) -> str:
    r"""Replace characters that an encoding lacks by escapes.

    >>> encodable("5 \u00b1 1", "ascii")
    '5 \\xb1 1'
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")
    return text
