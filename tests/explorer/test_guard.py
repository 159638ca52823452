"""Who may talk to the explorer, where it listens, and what the command says when it cannot start."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

pytest.importorskip("nicegui")

from labelspace.errors import UserError
from labelspace.explorer.app import address, bind, check_address
from labelspace.explorer.guard import Guard, Proxies, is_loopback


async def _inside(scope, receive, send) -> None:
    """An application that reads all that it is sent, and says so."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def ask(
    guard: Guard,
    *,
    path: str = "/",
    query: str = "",
    kind: str = "http",
    body: tuple[bytes, ...] = (b"",),
    peer: str = "127.0.0.1",
    method: str = "GET",
    **headers,
):
    """The first message that a request is answered with."""
    sent: list[dict] = []
    parts = [{"type": "http.request", "body": part, "more_body": i + 1 < len(body)} for i, part in enumerate(body)]

    async def receive():
        return parts.pop(0)

    async def send(message) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1:8080", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "client": (peer, 1),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(guard(scope, receive, send))
    return sent[0]


LOCAL = Guard(_inside, "", True, 1000, "c")
OPEN = Guard(_inside, "secret-token", False, 1000, "c")


def test_this_machine_is_let_in_and_other_names_are_not() -> None:
    for host in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080"):
        assert ask(LOCAL, host=host)["status"] == 200
    for host in ("evil.example:8080", "127.0.0.1.evil.example", "192.168.0.3:8080", ""):  # a name that was bent to this machine
        assert ask(LOCAL, host=host)["status"] == 403


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_pages_of_other_sites_are_refused(kind: str) -> None:
    own = ask(LOCAL, kind=kind, origin="http://127.0.0.1:8080")
    assert own.get("status", own["type"]) in (200, "websocket.accept")
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null"):
        refused = ask(LOCAL, kind=kind, origin=origin)
        assert refused.get("status", refused["type"]) in (403, "websocket.close")


def test_the_token_is_asked_for_and_remembered() -> None:
    assert ask(OPEN)["status"] == 401
    assert ask(OPEN, query="token=wrong-token")["status"] == 401
    assert ask(OPEN, kind="websocket")["type"] == "websocket.close"
    let_in = ask(OPEN, path="//evil.example", query="sample=test%3A1&token=secret-token")
    assert let_in["status"] == 303
    headers = dict(let_in["headers"])
    assert headers[b"location"] == b"/evil.example?sample=test%3A1"  # without the token, and on this server
    assert b"HttpOnly" in headers[b"set-cookie"]
    cookie = headers[b"set-cookie"].split(b";")[0].decode()
    assert ask(OPEN, cookie=cookie)["status"] == 200
    assert ask(OPEN, cookie=cookie, kind="websocket")["type"] == "websocket.accept"
    assert ask(OPEN, cookie="c=another")["status"] == 401
    foreign = 'x={"a":1,"b":2}; =; y'  # what another server of this host left
    assert ask(OPEN, cookie=f"{foreign}; c=another; {cookie}; z=1")["status"] == 200
    assert ask(OPEN, cookie=f"{foreign}; xc=secret-token; d=secret-token")["status"] == 401


def test_large_bodies_are_refused_announced_or_not() -> None:
    assert ask(LOCAL, content_length="900", body=(b"x" * 900,))["status"] == 200
    assert ask(LOCAL, content_length="1001")["status"] == 413
    assert ask(LOCAL, content_length="9" * 5000)["status"] == 413
    assert ask(LOCAL, body=(b"x" * 600, b"x" * 600))["status"] == 413


def test_addresses() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    check_address("localhost", "")
    check_address("0.0.0.0", "long-enough-token")
    for host, token in (("0.0.0.0", ""), ("::", ""), ("127.0.0.1", "short"), ("127.0.0.1", "a b c d e f g")):
        with pytest.raises(UserError, match="--token"):
            check_address(host, token)


def test_ports() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 cannot be used"):
            bind("127.0.0.1", port)
    with bind("127.0.0.1", 0) as found:
        assert address(found, "127.0.0.1", "abc") == f"http://127.0.0.1:{found.getsockname()[1]}/?token=abc"
    with bind("0.0.0.0", 0) as found:  # nothing that others could open
        assert "0.0.0.0" not in address(found, "0.0.0.0", "abc")
    for host, port, said in (("127.0.0.1", 70_000, "not a port"), ("no-such-host.invalid", 0, "not an address")):
        with pytest.raises(UserError, match=said):
            bind(host, port)


async def _shown(scope, receive, send) -> None:
    """An application that says how a request reached it."""
    prefix = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode()
    await send({"type": "http.response.start", "status": 200, "headers": [], "said": (prefix, scope["path"])})


def test_a_path_is_taken_off_and_handed_on() -> None:
    below = Guard(_shown, "", True, 1000, "c", Proxies("/lab"))
    for path, seen in {"/lab/a": "/a", "/a": "/a", "/lab": "/", "/lab/": "/", "/laboratory": "/laboratory"}.items():
        assert ask(below, path=path)["said"] == ("/lab", seen)


def test_what_proxies_say_counts_only_where_they_are_trusted() -> None:
    said: dict[str, Any] = {"x_forwarded_host": "lab.example", "x_forwarded_prefix": "/mine", "origin": "https://lab.example"}
    assert ask(Guard(_shown, "", True, 1000, "c"), **said)["status"] == 403
    assert ask(Guard(_shown, "", True, 1000, "c"), x_forwarded_prefix="/mine")["said"] == ("", "/")
    trusting = Guard(_shown, "secret-token", True, 1000, "c", Proxies("", ("10.0.0.0/8",)))
    assert ask(trusting, peer="10.1.2.3", cookie="c=secret-token", **said)["said"] == ("/mine", "/")
    assert ask(trusting, peer="11.1.2.3", cookie="c=secret-token", **said)["status"] == 403
    assert ask(trusting, peer="10.1.2.3", **said)["status"] == 401
    bent = {**said, "x_forwarded_prefix": '/"><script>'}
    assert ask(trusting, peer="10.1.2.3", cookie="c=secret-token", **bent)["said"] == ("", "/")
    let_in = ask(trusting, peer="10.1.2.3", path="/a", query="token=secret-token", x_forwarded_proto="https", **said)
    headers = dict(let_in["headers"])
    assert headers[b"location"] == b"/mine/a"
    assert b"; Secure" in headers[b"set-cookie"]
    assert b"Path=/mine;" in headers[b"set-cookie"]


@pytest.mark.parametrize(
    ("proxies", "token", "said"),
    [
        (Proxies("lab"), "", "--root-path"),
        (Proxies("//evil.example"), "", "--root-path"),
        (Proxies("/lab/../x"), "", "--root-path"),
        (Proxies("", ("nobody",)), "secret-token", "--forwarded-allow-ips"),
        (Proxies("", ("*",)), "", "--token"),
    ],
)
def test_proxies_that_cannot_be_are_refused(proxies: Proxies, token: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_address("127.0.0.1", token, proxies)


def test_malformed_hosts_and_origins_are_refused() -> None:
    for host in ("[::1", "[", "127.0.0.1:8080:9]", "\x00", "[evil", "user@[::1"):
        assert ask(LOCAL, host=host)["status"] == 403
        assert ask(LOCAL, origin=f"http://{host}")["status"] == 403
    assert ask(OPEN, host="", origin="null", cookie="c=secret-token")["status"] == 403


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "\\/evil.example", "///evil.example/a", "/a b\r\nX: y"])
def test_the_token_leads_to_no_other_server(path: str) -> None:
    there = dict(ask(OPEN, path=path, query="token=secret-token")["headers"])[b"location"].decode()
    assert there.startswith("/")
    assert not there.startswith(("//", "/\\"))
    assert not set(there) & set("\\ \r\n")


def fetched(guard: Guard, site: str, mode: str = "cors", dest: str = "empty", method: str = "GET", kind: str = "http") -> bool:
    """Whether a request is let in that a browser says is from some site."""
    sent = ask(
        guard,
        kind=kind,
        method=method,
        sec_fetch_site=site,
        sec_fetch_mode=mode,
        sec_fetch_dest=dest,
    )
    return sent.get("status", sent["type"]) in (200, "websocket.accept")


FRAMED = Guard(_inside, "", True, 1000, "c", framed=True)


def test_other_sites_may_lead_a_user_here_and_nothing_else() -> None:
    for guard in (LOCAL, FRAMED):
        assert fetched(guard, "same-origin")
        assert fetched(guard, "none", "navigate", "document")
        assert fetched(guard, "cross-site", "navigate", "document")  # a link that was followed
        for site in ("cross-site", "same-site"):
            assert not fetched(guard, site)
            assert not fetched(guard, site, "no-cors", "image")
            assert not fetched(guard, site, "no-cors", "script")
            assert not fetched(guard, site, "navigate", "document", method="POST")
            assert not fetched(guard, site, "websocket", kind="websocket")
    assert not fetched(LOCAL, "cross-site", "navigate", "iframe")
    assert fetched(FRAMED, "cross-site", "navigate", "iframe")  # a notebook's cell


def test_every_answer_says_what_browsers_may_do_with_it() -> None:
    for guard, sent in ((LOCAL, ask(LOCAL)), (LOCAL, ask(LOCAL, host="evil.example")), (OPEN, ask(OPEN))):
        headers = dict(sent["headers"])
        assert headers[b"x-frame-options"] == b"DENY", guard
        assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
        assert b"default-src 'self'" in headers[b"content-security-policy"]
        assert headers[b"x-content-type-options"] == b"nosniff"
    framed = dict(ask(FRAMED)["headers"])
    assert b"x-frame-options" not in framed
    assert b"frame-ancestors 'self' http://localhost:*" in framed[b"content-security-policy"]
    assert b"*" not in framed[b"content-security-policy"].replace(b":*", b"")


def test_what_goes_wrong_is_one_line() -> None:
    from labelspace.explorer.app import OneLine

    try:
        {}["nothing\nat all"]
    except KeyError as error:
        record = logging.LogRecord(
            "nicegui", logging.ERROR, "x", 1, "failed %s", ("there",), (KeyError, error, error.__traceback__)
        )
    assert OneLine().filter(record)
    said = logging.Formatter().format(record)
    assert "KeyError" in said
    assert "test_guard.py" in said
    assert "\n" not in said
