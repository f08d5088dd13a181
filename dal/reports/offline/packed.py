"""Packs large text into a page, which the browser unpacks.

Plotly has 4.8 MB. Compressed and in base64, it has 1.9 MB. The browser unpacks it without a request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from plotly.offline import get_plotlyjs

UNPACK = Path(__file__).with_name("unpack.js").read_text(encoding="utf-8")
"""The script that unpacks. Its ``loadPlotly()`` returns whether the browser can."""

NO_FIGURES = (
    '<noscript><p class="no-figures">The figures need JavaScript. Their numbers are in the CSV files in the folder of '
    'this page.</p></noscript><p class="no-figures" id="no-figures" hidden>This browser cannot unpack the figures: '
    "they need Chrome 80, Firefox 113, Safari 16.4 or later. Their numbers are in the CSV files in the folder of this "
    "page.</p>"
)
"""Sentences for browsers that cannot draw the figures."""


def packed(key: str, text: str) -> str:
    """Return an element with compressed text, for ``unpack(key)`` in the page. Equal text gives equal bytes.

    >>> packed("data", "{}") == packed("data", "{}")
    True
    """
    compressed = gzip.compress(text.encode(errors="backslashreplace"), 9, mtime=0)
    content = base64.b64encode(compressed).decode()
    return f'<script type="application/octet-stream" id="{key}">{content}</script>'


@cache
def packed_plotly() -> str:
    """Return the element that ``loadPlotly()`` reads."""
    return packed("plotly", get_plotlyjs())


def content_policy(scripts: Sequence[str]) -> str:
    """Return the element that forbids every request, and every script but these and Plotly."""
    digests = " ".join(f"'sha256-{digest}'" for digest in (*map(_digest, scripts), _plotly_digest()))
    policy = f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data: blob:"
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">'


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _plotly_digest() -> str:
    return _digest(get_plotlyjs())
