"""Which source made a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

import labelspace


def commit() -> str:
    """The commit of the library's own source, with + where files differ from it; empty outside a checkout."""
    home = Path(labelspace.__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(home), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        found = git("rev-parse", "--short=10", "HEAD")
        return found + ("+" if found and git("status", "--porcelain", "--untracked-files=no", "--", ".") else "")
    except FileNotFoundError:  # no git
        return ""
