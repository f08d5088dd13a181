"""HTTP server of the page, made of the standard library only."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from dal.errors import DalError, reason
from dal.labeling.people.page.body import Body
from dal.labeling.people.page.images import PictureError, Pictures
from dal.labeling.people.page.mask_desk import UnitPictures
from dal.labeling.people.page.security import HEADERS, Gate, Refusal, check_host, new_token, page_policy, port_taken
from dal.labeling.people.page.session import LabelingSession
from dal.runtime.refusals import RefusedBySystem

_MOST_BODY_BYTES = 4 * 2**20
_MOST_INDEX_DIGITS = 15
_SIDES = {"96": 96, "192": 192}
_PARTS = ("region", "image")
_BACK = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/"><title>dal</title>'
    '<p><a href="/">Continue to the page</a></p>'
)
_IDLE_SECONDS = 120


class PageServer:
    """Serves the page of a session.

    ``token`` is random by default. A host that other machines reach needs ``has_token_file=True``. ``names`` are
    further host names of the server, such as that of a proxy. Port 0 chooses a free port.

    Raises DalError for a host that is refused, and for a port that is taken.
    """

    def __init__(
        self,
        session: LabelingSession,
        pictures: Pictures,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        has_token_file: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        check_host(host, has_token_file)
        try:
            self._http = _HttpServer((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise port_taken(host, port, error if isinstance(error, OSError) else OSError(0, str(error))) from error
        self.port = int(self._http.server_address[1])
        self.gate = Gate(token or new_token(), host, self.port, tuple(names))
        self._http.site = _Site(session, pictures, self.gate)
        self._thread: Thread | None = None

    @property
    def address(self) -> str:
        """The address without the token."""
        host = self.gate.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def url(self) -> str:
        """The address to open first. The token is in it."""
        return f"{self.address}?{urlencode({'token': self.gate.token})}"

    def start(self) -> None:
        """Serve in a thread until close()."""
        self._thread = Thread(target=self._http.serve_forever, args=(0.05,), name="page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the port."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
        self._http.close_connections()
        self._http.server_close()

    def __enter__(self) -> PageServer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Site:
    """What all requests share."""

    def __init__(self, session: LabelingSession, pictures: Pictures, gate: Gate) -> None:
        self.session, self.pictures, self.gate = session, pictures, gate

    @cached_property
    def page(self) -> tuple[bytes, str]:
        """The page and its Content-Security-Policy."""
        html = files("dal.labeling.people.page").joinpath("page.html").read_text("utf-8")
        return html.encode(), page_policy(html)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    site: _Site

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._connections: set[Any] = set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer.server_bind() asks the name server for the host's name, which can take seconds.
        socket_address = self.server_address
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(socket_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close the connections that browsers keep open."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing about a browser that closes its connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet an answer
    timeout = _IDLE_SECONDS
    server: _HttpServer

    def version_string(self) -> str:
        return "dal"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, method: Callable[[], None]) -> None:
        try:
            method()
        except RefusedBySystem as error:
            self._send_json(507, {"error": str(error)})
        except PictureError as error:
            self._send_json(410 if error.is_gone else 422, {"error": str(error)})
        except DalError as error:
            self._send_json(400, {"error": str(error)})
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the browser has closed the connection, or is silent
        except Exception as error:
            logging.getLogger(__name__).exception("The page server failed.")
            self._send_json(500, {"error": f"The server failed: {type(error).__name__}: {reason(error)}."})

    def parse_request(self) -> bool:
        """Parse the first lines of a request. Refuse an address that is none, such as one with an open bracket."""
        if not super().parse_request():
            return False
        try:
            urlsplit(self.path)
        except ValueError:
            self.send_error(400, "Bad address")
            return False
        return True

    def _get(self) -> None:
        site, parts = self.server.site, urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if (refusal := site.gate.refused_host(self.headers)) is not None:
            return self._refuse(refusal)
        if parts.path == "/" and "token" in query and site.gate.is_token(query["token"]):
            rest = urlencode({name: value for name, value in query.items() if name != "token"})
            cookie = {"Location": f"/?{rest}" if rest else "/", "Set-Cookie": site.gate.cookie_header()}
            return self._send(303, b"", "text/plain", cookie)
        if (refusal := site.gate.refused(self.headers)) is not None or "token" in query:
            return self._unknown(refusal or Refusal(401, "token: expected the address that dal label printed."))
        if parts.path == "/":
            body, policy = site.page
            return self._send(200, body, "text/html; charset=utf-8", {"Content-Security-Policy": policy})
        if parts.path.startswith("/image/"):
            return self._send_picture(parts.path.removeprefix("/image/"), query)
        if parts.path == "/favicon.ico":
            return self._send(204, b"", "image/x-icon")
        return self._refuse(Refusal(404, "page: no such page."))

    def _unknown(self, refusal: Refusal) -> None:
        """Refuse a browser without the cookie.

        A link on another site leads here without the cookie, which is SameSite=Strict. The page then opens itself.
        """
        if urlsplit(self.path).path == "/" and self.headers.get("Sec-Fetch-Site") == "cross-site":
            return self._send(refusal.status, _BACK.encode(), "text/html; charset=utf-8")
        return self._refuse(refusal)

    def _send_picture(self, text: str, query: Mapping[str, str]) -> None:
        pictures, size, part = self.server.site.pictures, query.get("side"), query.get("part")
        is_index = text.isascii() and text.isdigit() and len(text) <= _MOST_INDEX_DIGITS
        if not (is_index and int(text) < len(pictures)) or (size is not None and size not in _SIDES):
            return self._refuse(Refusal(404, "image: no such image."))
        if part is not None:
            if part not in _PARTS or not isinstance(pictures, UnitPictures):
                return self._refuse(Refusal(404, "image: no such part."))
            return self._send(200, pictures.part(int(text), part).body, "image/png")
        index, side = int(text), None if size is None else _SIDES[size]
        cached = {"ETag": f'"{pictures.tag(index, side)}"', "Cache-Control": "private, no-cache"}
        if cached["ETag"] in (self.headers.get("If-None-Match") or ""):
            return self._send(304, b"", None, cached)
        picture = pictures.picture(index, side)
        cached["ETag"] = f'"{picture.tag}"'
        cached["Content-Security-Policy"] = "default-src 'none'; sandbox"
        return self._send(200, picture.body, picture.media_type, cached)

    def _post(self) -> None:
        gate, session = self.server.site.gate, self.server.site.session
        refusal = gate.refused(self.headers) or gate.refused_post(self.headers)
        if refusal is not None:
            self._unread(refusal)
            return None
        body = self._body()
        if body is None:
            return None
        path = urlsplit(self.path).path
        if path not in self.calls:
            return self._refuse(Refusal(404, "page: no such page."))
        return self._send_json(200, self.calls[path](session, body))

    calls: ClassVar[dict[str, Callable[[LabelingSession, Body], Mapping[str, Any]]]] = {
        "/api/lease": LabelingSession.lease,
        "/api/answers": LabelingSession.answer,
        "/api/mask": LabelingSession.mask,
        "/api/status": LabelingSession.status,
        "/api/recent": LabelingSession.recent,
        "/api/release": LabelingSession.release,
        "/api/classes": LabelingSession.change_class,
    }

    def _body(self) -> Body | None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            self._unread(Refusal(411, "body: expected a length."))
            return None
        if int(length) > _MOST_BODY_BYTES:
            self._unread(Refusal(413, f"body: expected at most {_MOST_BODY_BYTES:,} bytes, got {length}."))
            return None
        return Body.parse(self.rfile.read(int(length)))

    def _unread(self, refusal: Refusal) -> None:
        """Refuse a request whose body is not read, so that nothing else can follow on the connection."""
        self.close_connection = True
        self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        self._send_json(refusal.status, {"error": refusal.sentence})

    def _send_json(self, status: int, value: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(value, allow_nan=False).encode(), "application/json")

    def _send(self, status: int, body: bytes, media_type: str | None, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        sent = {"Cache-Control": "no-store", **HEADERS, "Content-Length": str(len(body)), **(headers or {})}
        if status in (204, 304):
            del sent["Content-Length"]
        if media_type is not None:
            sent["Content-Type"] = media_type
        for name, value in sent.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)
