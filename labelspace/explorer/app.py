"""The server: pages, pictures of samples, and who may reach them."""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import socket
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from nicegui import Client, ui
from nicegui import app as pages
from starlette.types import ASGIApp, Receive, Scope, Send

from labelspace.errors import UserError
from labelspace.explorer import uploads
from labelspace.explorer.guard import Guard, Proxies, is_loopback, is_root
from labelspace.explorer.page import KEYS, Page, picture
from labelspace.explorer.tabs import Tabs
from labelspace.explorer.workbench import Workbench

FIRST_PORT = 8080
_PACKAGE = Path(__file__).parents[1]
_PORTS = 20
_SLOW = 0.01  # seconds for one decoded sample, above which all cores are used
_SLACK = 1_000_000  # bytes of a request that are no file
_PATIENCE = 60.0  # seconds that a page may take to connect, before what was kept for it is let go of
_SWEEP = 60.0  # seconds between looks at tabs that nobody uses
_TALKATIVE = ("nicegui", "asyncio", "uvicorn.error", "socketio", "socketio.server", "engineio", "engineio.server")
# Said by the page itself, with nothing that has to be fetched: what could not be fetched may be what is wrong.
_LOST = """
<div id="unreachable" role="alert" hidden>
  <strong>This page cannot talk to its server.</strong>
  What lies between them, such as a proxy, does not pass on what is asked of <code></code>: it has to pass on WebSockets
  (<code>Upgrade</code>, <code>Connection</code>) or plain requests there, and the <code>Host</code> header. Below a path, start
  the explorer with <code>--root-path</code>; behind a proxy that sends <code>X-Forwarded-Host</code>, with
  <code>--forwarded-allow-ips</code>.
</div>
<script>
(() => {
  const began = Date.now(), told = document.getElementById("unreachable");
  const timer = setInterval(() => {
    told.hidden = Boolean(window.did_handshake) || Date.now() - began < 5000;
    told.querySelector("code").textContent = (window.path_prefix || "") + "/_nicegui_ws/";
    if (window.did_handshake) clearInterval(timer);
  }, 250);
})();
</script>
"""


def check_address(host: str, token: str, proxies: Proxies = Proxies()) -> None:
    """Raises UserError when others could reach the explorer without a token, or the token or the proxies cannot be ones."""
    if proxies.root and not is_root(proxies.root):
        raise UserError(f"--root-path {proxies.root!r} is not the path of a page; expected letters and digits as in /lab/faces")
    for one in proxies.trusted:
        try:
            ipaddress.ip_network("0.0.0.0/0" if one == "*" else one, strict=False)
        except ValueError:
            raise UserError(
                f"--forwarded-allow-ips {one!r} is not an address or network; expected 10.0.0.7, 10.0.0.0/8 or *"
            ) from None
    if proxies.trusted and not token:
        raise UserError("--forwarded-allow-ips lets a proxy's users in, so it needs --token with a secret of your choice")
    if not is_loopback(host) and not token:
        raise UserError(f"--host {host} can be reached from other machines, so it needs --token with a secret of your choice")
    if token and not re.fullmatch(r"[A-Za-z0-9._~-]{8,200}", token):
        raise UserError("--token takes 8 to 200 letters, digits and - . _ ~; it becomes a part of the address")


def bind(host: str, port: int | None) -> socket.socket:
    """A socket that listens: on the port, or without one on the first that is free from 8080 on.

    Raises:
        UserError: the port is taken, or the host is not an address of this machine.
    """
    tried = range(FIRST_PORT, FIRST_PORT + _PORTS) if port is None else [port]
    if not all(0 <= p <= 65535 for p in tried):
        raise UserError(f"--port {port} is not a port; expected 1 to 65535, or 0 for any that is free")
    problem = ""
    for candidate in tried:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), candidate, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise UserError(f"--host {host} is not an address of this machine: {error.strerror}") from None
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(address)
            found.listen(128)
            return found
        except OSError as error:
            found.close()
            problem = error.strerror or str(error)
    if port is None:
        raise UserError(f"no port from {tried[0]} to {tried[-1]} is free on {host} ({problem}); name one with --port")
    raise UserError(f"port {port} of {host} cannot be used ({problem}); choose another with --port")


def address(listening: socket.socket, host: str, token: str, root: str = "") -> str:
    """The address to open in a browser."""
    host = host.strip("[]")
    if listening.getsockname()[0] in ("0.0.0.0", "::"):  # all addresses of this machine; none of them is called that
        host = _outgoing(listening.family)
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}{root}/" + (f"?token={token}" if token else "")


def _outgoing(family: int) -> str:
    """The address under which this machine talks to others; its name where there is none."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1", 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


def settle_threads(bench: Workbench) -> int:
    """The number of threads that decoding a sample gets: one, unless that is slow.

    Small decoders gain nothing from more, and where other programs run, waiting for a second core makes some pictures late.
    """
    most = torch.get_num_threads()
    code = bench.codes.rows(slice(0, 1))
    torch.set_num_threads(1)
    with torch.inference_mode():
        took = []
        for _ in range(6):
            start = time.perf_counter()
            bench.model.decode(code)
            took.append(time.perf_counter() - start)
    if min(took) > _SLOW:
        torch.set_num_threads(most)
    return torch.get_num_threads()


def application(bench: Workbench, tabs: Tabs) -> ASGIApp:
    """The application for a run. One a process: the pages of NiceGUI belong to the process."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    key = secrets.token_hex(4)  # another server on the same port must not be shown this one's pictures
    style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")

    @app.get(f"/samples/{key}/{{row}}.png")
    def sample(row: int) -> Response:
        if not bench.is_image or not 0 <= row < len(bench.data):
            raise HTTPException(404)
        return Response(picture(bench, row), media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @app.post(f"/uploads/{key}/{{tab}}/{{what}}")
    async def upload(tab: str, what: str, request: Request) -> Response:
        """A user's file, for one tab."""
        page = tabs.get(tab)
        if not isinstance(page, Page) or what not in page.hub.takes:
            raise HTTPException(404)
        name = unquote(request.headers.get("x-file-name", ""))[:500]
        with Client.instances[tab]:
            await page.hub.takes[what](name, await request.body())
        return Response(status_code=204)

    @app.get("/report")
    def report() -> Response:
        if bench.report is None:
            raise HTTPException(404, "this run has no report yet: labelspace report RUN")
        return Response(bench.report.read_bytes(), media_type="text/html; charset=utf-8")

    @ui.page("/")
    async def index() -> None:
        ui.add_css(style)
        ui.colors(primary="#2d5fa6", dark="#1c2027", dark_page="#14171c", warning="#8a4b08")
        ui.add_body_html(_LOST + f"<script>{KEYS}</script>")
        client = ui.context.client
        request = client.request
        opening = ui.element("p").classes("opening")  # whoever only asks for the address gets no more than this
        await client.connected(timeout=_PATIENCE)
        if client.is_deleted:  # it was left, or loaded again, meanwhile
            return
        opening.delete()
        root = request.headers.get("x-forwarded-prefix", "")  # see Guard
        client.on_delete(lambda: tabs.leave(client.id))
        tabs.enter(
            client.id,
            Page(
                bench, lambda row: f"{root}/samples/{key}/{row}.png", f"/uploads/{key}/{client.id}", root, request.query_params
            ),
        )

    for element in (ui.button, ui.menu_item):
        element.default_props("no-caps")
    ui.menu_item.default_props("role=menuitem")  # Quasar calls them items of a list
    pages.config.quasar_config["loadingBar"]["skipHijack"] = True  # a bar without a name, for requests that take no time
    pages.timer(_SWEEP, tabs.sweep)
    ui.run_with(
        app,
        title=f"{bench.home.name} · labelspace",
        dark=None,
        tailwind=False,
        binding_refresh_interval=None,
        show_welcome_message=False,
        reconnect_timeout=10,
        language="en-US",
    )
    return _only(app, ("/", "/report", "/favicon.ico"), ("/samples/", "/uploads/", "/_nicegui/", "/_nicegui_ws/"))


def _only(app: ASGIApp, paths: tuple[str, ...], folders: tuple[str, ...]) -> ASGIApp:
    """An application that does not hear of other paths: NiceGUI would keep a page for each of them."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "/")
        if scope["type"] != "http" or path in paths or path.startswith(folders):
            await app(scope, receive, send)
        else:
            await Response("There is no such page.", 404, media_type="text/plain")(scope, receive, send)

    return answer


class OneLine(logging.Filter):
    """What goes wrong while a page or a stranger talks to the server becomes one line with its place, not a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is None:
            return True
        passed = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in passed if Path(frame.filename).is_relative_to(_PACKAGE)] or passed
        where = f" ({_place(Path(own[-1].filename))}, line {own[-1].lineno})" if own else ""
        said = " ".join(str(error).split())[:300]
        record.msg, record.args = f"labelspace explore: {type(error).__name__}: {said}{where}", ()
        record.exc_info = record.exc_text = None
        return True


def _place(file: Path) -> str:
    """A file as messages name it: of ours from the package on."""
    return str(file.relative_to(_PACKAGE.parent)) if file.is_relative_to(_PACKAGE) else file.name


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(
    bench: Workbench,
    listening: socket.socket,
    host: str,
    token: str,
    ready: Callable[[], None],
    proxies: Proxies = Proxies(),
    *,
    tabs: int = 64,
    framed: bool = False,
) -> None:
    """Serves a run until it is interrupted.

    Args:
        bench: the run.
        listening: see :func:`bind`.
        host: the host that it listens on.
        token: what browsers have to show, empty for none.
        ready: called when the server answers.
        proxies: what shows the explorer to others.
        tabs: so many are kept; the one that was not used for longest rests when another one opens.
        framed: whether notebooks of this machine may show it in a frame.
    """
    settle_threads(bench)
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(OneLine())
    cookie = f"labelspace-{listening.getsockname()[1]}"
    app = application(bench, Tabs(tabs))
    guarded = Guard(app, token, is_loopback(host), uploads.MOST_BYTES + _SLACK, cookie, proxies, framed)
    config = uvicorn.Config(
        guarded,
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=1,
        server_header=False,
        proxy_headers=False,  # the guard reads them
    )
    with warnings.catch_warnings():
        # NiceGUI looks at every object there is when it starts, deprecated ones of torch among them.
        warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui")
        _Server(config, ready).run(sockets=[listening])
