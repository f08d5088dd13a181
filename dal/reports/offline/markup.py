"""Makes text and values safe inside an HTML page."""

from __future__ import annotations

import html
import json
from typing import Any

from dal.runtime.safe_text import visible


def escape(text: str) -> str:
    r"""Escape text for HTML, in elements and in attributes.

    >>> escape("<b>\x1b")
    '&lt;b&gt;\\x1b'
    """
    return html.escape(visible(text))


def plotly_text(text: str) -> str:
    """Escape text for a figure of Plotly, which reads ``$`` as a formula and ``%{`` as a variable.

    >>> plotly_text("<$x$> %{y}")
    '&lt;&#36;x&#36;&gt; &#37;{y}'
    """
    return escape(text).replace("$", "&#36;").replace("%{", "&#37;{")


def script_json(value: Any) -> str:
    r"""Return JSON that is safe inside a script of a page.

    ``<`` could begin a comment or end the script, even inside a string.

    >>> script_json(["</script>", "<!--"])
    '["\\u003c/script>", "\\u003c!--"]'
    """
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
