"""Who may talk to the explorer, and how much they may send: an ASGI application around it.

On a loopback address everyone on the machine may; a page from elsewhere that the same browser shows may not (the host that a
request names has to be this machine's, its origin this server, and only a user who follows a link comes from another site). On
other addresses the token is needed: once in the address, from then on as a cookie.

Every answer says what a browser may do with it: load nothing from elsewhere, show it in no frame (but for notebooks, where the
explorer was started for one), take it for no other kind of content, and tell no other site the address.

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
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DAY = 86_400
_LONG = 20  # digits of a length that are more than any memory has
_OUTER = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview:"  # notebooks
_NOBODY = "'none'"
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # templates of the page are compiled in the browser
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)


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
        framed: whether pages of this machine, such as notebooks, may show it in a frame.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        local: bool,
        most_bytes: int,
        cookie: str,
        proxies: Proxies = Proxies(),
        framed: bool = False,
    ) -> None:
        self.app, self.token, self.local, self.most_bytes, self.cookie = app, token, local, most_bytes, cookie
        self.proxies, self.framed = proxies, framed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        scope, headers, believed = self._as_seen(scope)
        send = self._with_policy(send)
        host = headers.get("host", "")
        origin = headers.get("origin")
        if self.local and not believed and not is_loopback(_split(f"//{host}")[1]):
            await _refuse(scope, send, 403, "This explorer answers on 127.0.0.1 and localhost only.")
        elif (origin is not None and (not host or _split(origin)[0] != host)) or not self._from_here(scope, headers):
            await _refuse(scope, send, 403, "Requests from other sites are refused.")
        elif self.token and not self._remembered(headers.get("cookie", "")):
            await self._ask_token(scope, send, headers["x-forwarded-prefix"])
        elif _length(headers) > self.most_bytes:
            await _refuse(scope, send, 413, f"More than {self.most_bytes / 1e6:.0f} MB were sent.")
        else:
            await self._limited(scope, receive, send)

    def _from_here(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Whether a browser says that a request is of this explorer's own page, or of a user who opens it."""
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return True
        opens = scope["type"] == "http" and scope.get("method") == "GET" and headers.get("sec-fetch-mode") == "navigate"
        return opens and headers.get("sec-fetch-dest") in (("document", "iframe") if self.framed else ("document",))

    def _with_policy(self, send: Send) -> Send:
        """Answers with what browsers may do with them."""
        policy = f"{_POLICY}; frame-ancestors {_OUTER if self.framed else _NOBODY}"
        said = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        said += [] if self.framed else [(b"x-frame-options", b"DENY")]

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *said]}
            await send(message)

        return noted

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
        location = quote(scope["path"].lstrip("/\\"))  # two slashes of either kind in front would name another server
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


def _split(address: str) -> tuple[str, str]:
    """Host with port, and the name of the host alone; empty where an address is not one."""
    try:
        found = urlsplit(address)
        return found.netloc, found.hostname or ""
    except ValueError:
        return "", ""


def _length(headers: dict[str, Any]) -> int:
    text = headers.get("content-length", "0")
    return int(text[:_LONG]) if text.isdecimal() else 0


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode()})
