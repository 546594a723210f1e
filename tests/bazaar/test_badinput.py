"""Whatever a client sends, the answer is a problem with a stable code, and it never repeats what was sent."""

import json
import socket
from typing import Any

import httpx
import pytest
from loopback import Platform
from shop import Shop

JSON = {"Content-Type": "application/json"}
SECRET = "4111111111111111"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[" * 10_000, 400, "malformed-request"),
        (b'{"text": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400, "malformed-request"),
        (b"{", 400, "malformed-request"),
        (b"\xff\xfe", 400, "malformed-request"),
        (b'{"text": ' + b"9" * 5000 + b"}", 400, "malformed-request"),
        (b'{"text": "a\\u0000"}', 422, "invalid-request"),
        (b'{"text": "\\ud800"}', 422, "invalid-request"),
        (b'{"text": "a", "\\ud800": 1}', 422, "invalid-request"),
        (b'{"text": "a", "conversation": 9223372036854775808}', 422, "invalid-request"),
        (b'{"text": "a", "conversation": "1"}', 422, "invalid-request"),
        (b'{"text": "a", "conversation": true}', 422, "invalid-request"),
        (b'{"text": 1}', 422, "invalid-request"),
        (b"null", 422, "invalid-request"),
        (b"", 422, "invalid-request"),
        (f'{{"text": "a", "{SECRET}": 1}}'.encode(), 422, "invalid-request"),
        (f'{{"text": "a", "channel": "{SECRET}"}}'.encode(), 422, "invalid-request"),
    ],
)
def test_bodies(shop: Shop, body: bytes, status: int, code: str) -> None:
    answer = shop.request("POST", "/v1/messages", content=body, headers=JSON)
    assert_problem(answer, status, code)
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/conversations/9223372036854775808/messages", 422, "invalid-request"),
        ("/v1/conversations/0/messages", 422, "invalid-request"),
        ("/v1/conversations?after=2147483648", 422, "invalid-request"),
        ("/v1/conversations?limit=101", 422, "invalid-request"),
        ("/v1/conversations?unknown=1", 422, "invalid-request"),
        ("/v1/orders/%00", 422, "invalid-request"),
        ("/v1/orders/1000-1%0A", 422, "invalid-request"),
        ("/v1/episodes/zzzz" + SECRET, 422, "invalid-request"),
        ("/v1/shipments/TR%F0%9F%98%80", 422, "invalid-request"),
        ("/v1/%ff", 404, "not-found"),
    ],
)
def test_paths_and_queries(shop: Shop, path: str, status: int, code: str) -> None:
    answer = shop.request("GET", path)
    assert_problem(answer, status, code)
    assert SECRET not in answer.text
    assert "`z`" not in answer.text


def test_types_and_methods(shop: Shop) -> None:
    text = shop.request("POST", "/v1/messages", content=b"hello", headers={"Content-Type": "text/plain"})
    assert_problem(text, 415, "unsupported-media-type")
    form = shop.request("POST", "/v1/messages", data={"text": "hello"})
    assert_problem(form, 415, "unsupported-media-type")
    assert_problem(shop.request("POST", "/v1/messages", content=b'{"text": "a"}'), 415, "unsupported-media-type")
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        answer = shop.request(method, "/v1/messages")
        assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused_without_reading_it(bazaar: Platform, shop: Shop, declared: bool) -> None:
    """10 MB are offered. What is declared is not read at all; what is not is read as far as the limit."""
    url = httpx.URL(bazaar.urls["gateway"])
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shop.keys['alice']}\r\n"
    head += "Content-Type: application/json\r\n"
    head += f"Content-Length: {10**7}\r\n\r\n" if declared else "Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((url.host, url.port), 10) as raw:
        raw.sendall(head.encode())
        sent = 0
        try:
            while not declared and sent < 10**7:
                raw.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass  # the server has closed: that is what is asked for
        status = raw.recv(12)
    assert status == b"HTTP/1.1 413"
    assert sent < 8 * 10**6


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/orders HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 200_000,
        b"GET /v1/orders HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 30_000,
        b"GET /" + b"a" * 200_000,
        b"GET /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    ],
    ids=["value", "headers", "target", "length", "smuggling", "method", "tls"],
)
def test_heads(bazaar: Platform, shop: Shop, head: bytes) -> None:
    url = httpx.URL(bazaar.urls["gateway"])
    with socket.create_connection((url.host, url.port), 10) as raw:
        raw.sendall(head)
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed-request"
    assert shop.request("GET", "/v1/orders").status_code == 200


def test_a_body_as_large_as_allowed_is_no_head(shop: Shop) -> None:
    padded = b'{"text": "How are you?"}' + b" " * 900_000
    assert shop.request("POST", "/v1/messages", content=padded, headers=JSON).status_code == 202


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"]) == (status, code)
