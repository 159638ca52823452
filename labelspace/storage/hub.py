"""Models of the Hugging Face hub (extra ``hub``), and folders laid out as there: ``hf:NAME[@REVISION]`` and ``hf:./DIR``.

Only the files of a model are fetched, JSON and safetensors; nothing that is fetched is run or unpickled.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from labelspace.errors import UserError

SCHEME = "hf:"
FILES = ("config.json", "schema.json", "variables.json", "model.safetensors")


def fetch(address: str) -> Path:
    """The directory of a model by its address, fetched unless it is at hand already.

    Args:
        address: ``hf:OWNER/NAME``, with ``@REVISION`` for a branch, tag or commit; or ``hf:`` and the path of a directory,
            which starts with ``./``, ``../``, ``/`` or ``~``.

    Raises:
        UserError: no such model, or it cannot be fetched (no network, no access).
    """
    name = address.removeprefix(SCHEME)
    if name.startswith((".", "/", "~")):
        return Path(os.path.expanduser(name))
    name, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise UserError(f"{address!r} is not hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:./DIRECTORY")
    hub = _library()
    from huggingface_hub import errors

    try:
        return Path(hub.snapshot_download(name, revision=revision or None, allow_patterns=list(FILES)))
    except errors.GatedRepoError:
        raise UserError(f"{address}: access to this model must be asked for on the hub") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{address}: the hub has no such model, or it is private and you are not logged in") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{address}: the model has no revision {revision!r}") from None
    except (OSError, ValueError, errors.HTTPError) as error:  # pyright: ignore[reportPrivateImportUsage]
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{address} could not be fetched and is not in the cache: {why}") from None


def root(home: Path) -> Path:
    """What the files of a model are in, links followed: of one that was fetched the cache, else its own directory."""
    cached = home.parent.name == "snapshots" and (home.parents[1] / "blobs").is_dir()
    return home.parents[1] if cached else home


def push(folder: Path, name: str, private: bool = False) -> str:
    """Uploads a folder as a model of the hub, as the user who is logged in there; returns its address in a browser.

    Raises:
        UserError: not logged in, a name that cannot be had, or no network.
    """
    hub = _library()
    from huggingface_hub import errors

    try:
        api = hub.HfApi()
        made = api.create_repo(name, private=private or None, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="Upload with labelspace")
    except (OSError, ValueError, errors.HTTPError) as error:  # pyright: ignore[reportPrivateImportUsage]
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} is written, but could not be uploaded as {name} (logged in? hf auth login): {why}") from None
    return str(made)


def _library():
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise UserError("hf: needs huggingface_hub; install it with: pip install 'labelspace[hub]'") from None
    return huggingface_hub
