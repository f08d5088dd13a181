"""Who may talk to the page: token, cookie, Host and Origin."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import NamedTuple, TypeAlias

from dal.errors import DalError, bad_content, bad_value
from dal.runtime.refusals import explained

Headers: TypeAlias = "Mapping[str, str] | Message"
"""The headers of a request. A key that is missing gives None."""

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_YEAR_SECONDS = 365 * 24 * 3600


class Refusal(NamedTuple):
    """The answer to a request that is refused."""

    status: int
    sentence: str


def new_token() -> str:
    """Return a random token of 256 bits."""
    return secrets.token_urlsafe(32)


def read_token(path: str | Path) -> str:
    """Return the token in a file. Raises DalError for one that is short or does not fit into a URL."""
    with explained("token_file", path):
        text = Path(path).read_text(errors="replace").strip()
    if not is_token_text(text):
        raise bad_content("token_file", "16 to 256 of A-Z a-z 0-9 . _ ~ -", "other text")
    return text


def is_token_text(value: object) -> bool:
    """Return whether a value can be a token."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, has_token_file: bool) -> None:
    """Raise DalError for an address that other machines reach, unless a token file is given."""
    if not host or not (is_loopback(host) or has_token_file):
        raise bad_value("host", "a loopback address such as 127.0.0.1, or a token file with it", host)


@dataclass(frozen=True)
class Gate:
    """Checks each request.

    ``names`` are host names in addition to the address, such as that of a proxy.
    """

    token: str
    host: str
    port: int
    names: Sequence[str] = ()

    @property
    def cookie(self) -> str:
        """The name of the cookie. Browsers share cookies between the ports of a host."""
        return f"dal-{self.port}"

    def cookie_header(self) -> str:
        """Return the value of Set-Cookie for a client that knows the token."""
        return f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={_YEAR_SECONDS}"

    def is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    def refused(self, headers: Headers) -> Refusal | None:
        """Return why a request is refused: 421 for a wrong Host, and 401 without the cookie."""
        return self.refused_host(headers) or (None if self._has_cookie(headers) else UNKNOWN_TOKEN)

    def refused_host(self, headers: Headers) -> Refusal | None:
        """Refuse a Host that is not ours, which another site may have pointed to this address."""
        given = (headers.get("Host") or "").lower()
        if self._is_ours(given):
            return None
        return Refusal(421, f"host: expected one of {', '.join(self._hosts())}, got {given[:100]!r}.")

    def refused_post(self, headers: Headers) -> Refusal | None:
        """Refuse a POST from another site, or one that a form can send."""
        origin = headers.get("Origin")
        scheme, _, host = (origin or "").partition("://")
        if scheme not in ("http", "https") or not self._is_ours(host.lower()):
            return Refusal(403, f"origin: expected the page itself, got {(origin or 'none')[:100]!r}.")
        content = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        if content != "application/json":
            return Refusal(403, f"content type: expected application/json, got {content[:100]!r}.")
        return None

    def _is_ours(self, given: str) -> bool:
        if given in self._hosts() or given.rpartition(":")[0] in self.names or given in self.names:
            return True
        # A server for all addresses has no single name. A number cannot be rebound, unlike a name.
        name, _, port = given.rpartition(":")
        return not self._is_single() and port == str(self.port) and _is_number(name)

    def _is_single(self) -> bool:
        return not (_is_number(self.host) and ipaddress.ip_address(self.host).is_unspecified)

    def _hosts(self) -> list[str]:
        names = ["127.0.0.1", "localhost", "[::1]"] if is_loopback(self.host) or not self._is_single() else []
        own = [f"[{self.host}]" if ":" in self.host else self.host] if self._is_single() else []
        return [f"{name}:{self.port}" for name in dict.fromkeys([*own, *names])]

    def _has_cookie(self, headers: Headers) -> bool:
        for part in (headers.get("Cookie") or "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie and self.is_token(value):
                return True
        return False


UNKNOWN_TOKEN = Refusal(401, "token: expected the address that dal label printed. Open it once in this browser.")


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def page_policy(html: str) -> str:
    """Return the Content-Security-Policy of a page: its own scripts and styles, and nothing of other hosts.

    >>> page_policy("<style>p{}</style>").split("; ")[2][:18]
    "style-src 'sha256-"
    """
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for tag, text in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[tag].append(f"'sha256-{digest}'")
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(hashes["script"]) or "'none'",
        "style-src": " ".join(hashes["style"]) or "'none'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""


def port_taken(host: str, port: int, error: OSError) -> DalError:
    """Return the error for a port or a host that cannot be used."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return bad_content("host", "an address of this machine", f"{host!r} ({error.strerror})")
    return bad_value("port", "a free port (0 chooses one)", f"{port}: {error.strerror}")
