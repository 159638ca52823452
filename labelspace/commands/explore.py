"""``labelspace explore``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import webbrowser

from labelspace import surroundings, terminal
from labelspace.errors import UserError


def explore(given: argparse.Namespace) -> None:
    """Opens a run in the browser, until it is interrupted."""
    try:
        import nicegui  # noqa: F401
    except ImportError:
        raise UserError("the explorer needs NiceGUI; install it with: pip install 'labelspace[explorer]'") from None
    from labelspace.explorer import app, guard
    from labelspace.explorer.workbench import Workbench

    trusted = tuple(one.strip() for one in given.forwarded_allow_ips.split(",") if one.strip())
    proxies = guard.Proxies(given.root_path.rstrip("/"), trusted)
    app.check_address(given.host, given.token, proxies)
    if given.tabs < 1:
        raise UserError(f"--tabs {given.tabs} keeps no tab; expected 1 or more")
    bench = Workbench.open(given.run_directory, given.data)
    listening = app.bind(given.host, given.port)
    url = app.address(listening, given.host, given.token, proxies.root)

    def ready() -> None:
        if given.json:
            terminal.emit({"url": url})
            sys.stdout.flush()  # a program that reads it waits for it
        terminal.say(f"{given.run_directory} is at {url} (Ctrl+C ends it)")
        if not given.no_browser and surroundings.display():
            webbrowser.open(url)

    if given.with_input:
        threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        app.serve(bench, listening, given.host, given.token, ready, proxies, tabs=given.tabs, framed=given.frames)
    except KeyboardInterrupt:
        terminal.say("closed")
    finally:
        listening.close()


def _end_with_input() -> None:
    """Ends this process when standard input does: whoever held it is gone, however that came about."""
    while sys.stdin.read(4096):
        pass
    signal.raise_signal(signal.SIGINT)
