"""Who may talk to the explorer, and how much they may send: an ASGI application around it.

On a loopback address everyone on the machine may; a page from elsewhere that the same browser shows may not (the host that a
request names has to be this machine's, and its origin this server). On other addresses the token is needed: once in the
address, from then on as a cookie.

What a proxy says of a request (``X-Forwarded-Host``, ``-Proto``, ``-Prefix``) counts only where the proxy is one that the user
named: anybody can send such headers. The path below which a proxy shows the explorer is taken off here, and handed on in
``X-Forwarded-Prefix``, where NiceGUI looks for it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DAY = 86_400


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Proxies:
    """Where the explorer is shown by others.

    Attributes:
        root: the path below which a proxy shows it, ``/lab``; empty for none.
        trusted: addresses or networks of proxies that are believed, ``*`` for all.
    """

    root: str = ""
    trusted: tuple[str, ...] = ()

    def believes(self, peer: str) -> bool:
        """Whether what a machine says of requests counts."""
        try:
            there = ipaddress.ip_address(peer)
        except ValueError:
            return "*" in self.trusted
        return any(one == "*" or there in ipaddress.ip_network(one, strict=False) for one in self.trusted)


class Guard:
    """Lets through what may pass.

    Args:
        app: the application.
        token: what has to be shown; empty for none.
        local: whether the server listens on a loopback address only.
        most_bytes: of a request's body.
        cookie: name of the cookie that remembers the token.
        proxies: what shows the explorer to others.
    """

    def __init__(
        self, app: ASGIApp, token: str, local: bool, most_bytes: int, cookie: str, proxies: Proxies = Proxies()
    ) -> None:
        self.app, self.token, self.local, self.most_bytes, self.cookie = app, token, local, most_bytes, cookie
        self.proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        scope, headers, believed = self._as_seen(scope)
        host = headers.get("host", "")
        origin = headers.get("origin")
        if self.local and not believed and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            await _refuse(scope, send, 403, "This explorer answers on 127.0.0.1 and localhost only.")
        elif origin is not None and urlsplit(origin).netloc != host:
            await _refuse(scope, send, 403, "Requests from other sites are refused.")
        elif self.token and not self._remembered(headers.get("cookie", "")):
            await self._ask_token(scope, send, headers["x-forwarded-prefix"])
        elif _length(headers) > self.most_bytes:
            await _refuse(scope, send, 413, f"More than {self.most_bytes / 1e6:.0f} MB were sent.")
        else:
            await self._limited(scope, receive, send)

    def _as_seen(self, scope: Scope) -> tuple[Scope, dict[str, str], bool]:
        """A request as the browser made it, its headers, and whether a proxy that is believed passed it on."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        believed = bool(self.proxies.trusted) and self.proxies.believes((scope.get("client") or ("",))[0])
        said = {name: headers.pop(name) for name in list(headers) if name.startswith("x-forwarded-")}
        kept = [pair for pair in scope["headers"] if not pair[0].lower().startswith(b"x-forwarded-")]
        seen = dict(scope)
        root = self.proxies.root
        if believed:
            first = {name: value.split(",")[0].strip() for name, value in said.items()}
            headers["host"] = first.get("x-forwarded-host", headers.get("host", ""))
            secure = first.get("x-forwarded-proto") in ("https", "wss")
            seen["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else ("https" if secure else "http")
            prefix = first.get("x-forwarded-prefix", "").rstrip("/")
            root = root or (prefix if is_root(prefix) else "")
        seen["path"] = _below(scope["path"], root)
        if scope.get("raw_path"):
            seen["raw_path"] = _below(scope["raw_path"].decode("latin-1"), root).encode("latin-1")
        seen["headers"] = [*kept, (b"x-forwarded-prefix", root.encode("latin-1"))] if root else kept
        headers["x-forwarded-prefix"] = root
        return seen, headers, believed

    def _remembered(self, cookies: str) -> bool:
        """Whether the token is among the cookies, which may be any text: other servers on this host set some, too."""
        pairs = (part.partition("=") for part in cookies.split(";"))
        return any(name.strip() == self.cookie and _same(value.strip(), self.token) for name, _, value in pairs)

    async def _ask_token(self, scope: Scope, send: Send, root: str) -> None:
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token", "")
        if scope["type"] != "http" or not _same(given, self.token):
            await _refuse(scope, send, 401, "This explorer needs its token: open the address that it printed.")
            return
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        location = scope["path"].lstrip("/")  # two slashes in front would name another server
        there = f"{root}/{location}" + (f"?{rest}" if rest else "")
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Lax; Path={root or '/'}; Max-Age={_DAY}{secure}"
        await send(
            {
                "type": "http.response.start",
                "status": 303,
                "headers": [(b"location", there.encode("latin-1", "replace")), (b"set-cookie", cookie.encode())],
            }
        )
        await send({"type": "http.response.body", "body": b""})

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, which is told that the client went away when a body without a length grows too large."""
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        seen, started, too_much = 0, False, False

        async def counted() -> Message:
            nonlocal seen, too_much
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most_bytes:
                too_much = True
                return {"type": "http.disconnect"}
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            if too_much and not started:
                return
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except Exception:  # the application's complaint about a body that was cut off here; the answer below says why
            if not too_much:
                raise
        if too_much and not started:
            await _refuse(scope, send, 413, f"More than {self.most_bytes / 1e6:.0f} MB were sent.")


def is_root(path: str) -> bool:
    """Whether a text is a path that an explorer can be shown below."""
    return bool(re.fullmatch(r"(/[A-Za-z0-9._~@:%+-]+)+", path)) and not {".", ".."} & set(path.split("/"))


def _below(path: str, root: str) -> str:
    """A path as it is below another one; proxies pass both on, with it and without it."""
    return path.removeprefix(root) or "/" if root and f"{path}/".startswith(f"{root}/") else path


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _length(headers: dict[str, Any]) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode()})
