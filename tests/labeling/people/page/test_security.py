"""Requests that the page's server refuses."""

import json
import socket

import pytest
from helpers.label_page import TOKEN, Client, label, site_of

from dal.errors import DalError
from dal.labeling.people.page.security import Gate, check_host, is_loopback, page_policy, read_token


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with site_of(tmp_path_factory.mktemp("page"), names=["a.jpg", "b.jpg"]).serve() as server:
        yield Client(server)


ANSWER = json.dumps({"annotator": "ana", "tab": "t", "answers": []}).encode()


def test_the_token_becomes_a_cookie_and_leaves_the_address(client):
    status, headers, _ = client.request("GET", f"/?token={TOKEN}&name=ana", Cookie=None)
    assert (status, headers["Location"]) == (303, "/?name=ana")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert client.request("GET", "/", Cookie=cookie.partition(";")[0])[0] == 200


@pytest.mark.parametrize("path", ["/", "/image/0", "/?token=wrong", "/?token=", "/nothing"])
def test_a_browser_without_the_token_is_refused(client, path):
    assert client.request("GET", path, Cookie=None)[0] == 401
    assert client.request("GET", path, Cookie="dal-1=x; dal=y")[0] == 401


def test_a_wrong_token_is_refused_even_with_the_cookie(client):
    assert client.request("GET", "/?token=wrong")[0] == 401


def test_a_post_without_the_cookie_is_refused(client):
    assert client.request("POST", "/api/answers", ANSWER, Cookie=None)[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "", None])
def test_a_foreign_host_is_refused_before_anything_else(client, host):
    assert client.request("GET", "/", Host=host)[0] == 421
    assert client.request("GET", f"/?token={TOKEN}", Host=host)[0] == 421
    assert client.request("POST", "/api/answers", ANSWER, Host=host)[0] == 421


def test_localhost_is_the_same_host(client):
    assert client.request("GET", "/", Host=f"localhost:{client.server.port}")[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", None, "http://127.0.0.1:1", "file://"])
def test_a_post_of_another_site_is_refused(client, origin):
    assert client.request("POST", "/api/answers", ANSWER, Origin=origin)[0] == 403


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", None])
def test_a_form_is_refused(client, kind):
    assert client.request("POST", "/api/answers", ANSWER, Content_Type=kind)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/image/../answers.jsonl",
        "/image/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "/image/a.jpg",
        "/image/2",
        "/image/-1",
        "/image/99999999999999999999",
        "/image/0?side=7",
        "/image/",
        "/image/%d9%a3",
        "/answers.jsonl",
        "/api/answers",
    ],
)
def test_images_have_no_paths(client, path):
    assert client.request("GET", path)[0] == 404


def test_an_address_that_is_none_is_refused_without_a_traceback(client, caplog):
    with socket.create_connection(("127.0.0.1", client.server.port)) as raw:
        raw.sendall(b"GET http://[bad/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
    assert not caplog.records


def test_an_unknown_call_is_refused(client):
    assert client.request("POST", "/api/shutdown", ANSWER)[0] == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"no", b'{"a":', b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(client, body):
    status, _, data = client.request("POST", "/api/answers", body)
    assert status == 400
    assert json.loads(data)["error"].startswith("body: expected a JSON object")


def test_a_body_without_a_length_or_too_long_is_refused(client):
    assert client.request("POST", "/api/answers", Content_Length=None)[0] == 411
    assert client.request("POST", "/api/answers", Content_Length="99999999999")[0] == 413


def test_an_unknown_label_is_refused_with_the_nearest_class(client):
    status, found = client.answer(label("e1", 0, "dgo"))
    assert status == 400
    assert found["error"] == "label: expected one of bird, cat, dog, got 'dgo' (did you mean dog?)."


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"index": 2}, "index"),
        ({"index": "0"}, "index"),
        ({"index": -1}, "index"),
        ({"index": True}, "index"),
        ({"event": "no spaces"}, "event"),
        ({"event": None}, "event"),
        ({"kind": "maybe"}, "kind"),
        ({"label": None}, "label"),
        ({"label": ["cat"]}, "label"),
        ({"label": "=none"}, "label"),
        ({"ask": "x"}, "ask"),
        ({"kind": "undo", "undoes": "nothing"}, "undoes"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(client, changed, word):
    status, found = client.answer({**label("e2", 0, "cat"), **changed})
    assert (status, found["error"].partition(":")[0]) == (400, word)


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, None, 5])
def test_a_name_that_is_no_name_is_refused(client, name):
    status, found = client.post("lease", annotator=name, count=1)
    assert status == 400
    assert found["error"].startswith("annotator: expected 1 to 64 of")


def test_the_page_allows_nothing_of_other_hosts(client):
    _, headers, body = client.request("GET", "/")
    policy = headers["Content-Security-Policy"]
    assert policy == page_policy(body.decode())
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for word in (b"http://", b"https://", b"innerHTML", b"eval(", b"style="):
        assert word not in body
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_a_link_on_another_site_leads_to_the_page(client):
    status, _, body = client.request("GET", "/", Cookie=None, Sec_Fetch_Site="cross-site")
    assert status == 401
    assert b'http-equiv="refresh"' in body


def test_the_server_names_no_version(client):
    assert client.request("GET", "/")[1]["Server"] == "dal"


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("a.b", False)]
)
def test_other_hosts_than_loopback_need_a_token_file(host, loopback):
    assert is_loopback(host) == loopback
    check_host(host, has_token_file=True)
    if not loopback:
        with pytest.raises(DalError, match=r"^host: expected a loopback address"):
            check_host(host, has_token_file=False)


def test_a_server_for_all_addresses_takes_numbers_and_its_names():
    gate = Gate(TOKEN, "0.0.0.0", 8000, ("labels.example",))
    for host in ("10.0.0.5:8000", "[fe80::1]:8000", "localhost:8000", "labels.example", "labels.example:443"):
        assert gate.refused_host({"Host": host}) is None
    for host in ("evil.example:8000", "10.0.0.5:80", "10.0.0.5"):
        assert gate.refused_host({"Host": host}).status == 421


def test_a_token_file_needs_a_long_token(tmp_path):
    path = tmp_path / "token"
    path.write_text(f" {TOKEN}\n")
    assert read_token(path) == TOKEN
    path.write_text("short")
    with pytest.raises(DalError, match=r"^token_file: expected 16 to 256 of"):
        read_token(path)
    with pytest.raises(DalError, match=r"token_file: .* cannot be used"):
        read_token(tmp_path / "none")


def test_a_port_that_is_taken_is_named(client, tmp_path):
    with pytest.raises(DalError, match=f"^port: expected a free port .* got '{client.server.port}: "):
        site_of(tmp_path).serve(port=client.server.port)
