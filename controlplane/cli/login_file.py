# SPDX-License-Identifier: Apache-2.0
"""Where the command line keeps the server and the token that `tidegate login` was given."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import click

DEFAULT_URL = "http://127.0.0.1:8080"


class Login(NamedTuple):
    """A server and the token for it; None where no token is known."""

    url: str
    token: str | None


def path(environ: Mapping[str, str]) -> Path:
    """Return where the file is kept."""
    home = environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "tidegate" / "config.toml"


def find(environ: Mapping[str, str], url: str | None = None) -> Login:
    """Return the login in use: `url` given on the command line, then TIDEGATE_URL and TIDEGATE_TOKEN, then the file.

    A token from the file is used for the file's own server only.

    Raises:
        click.UsageError: the file is not valid, or others can read it.
    """
    kept = _read(path(environ))
    chosen = (url or environ.get("TIDEGATE_URL") or kept.url).rstrip("/")
    token = environ.get("TIDEGATE_TOKEN") or (kept.token if chosen == kept.url else None)
    return Login(chosen, token)


def save(environ: Mapping[str, str], login: Login) -> Path:
    """Write the file, readable by its owner only, in one step."""
    goal = path(environ)
    goal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = goal.with_name(f".{goal.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    # A JSON string is a TOML basic string.
    text = f"url = {json.dumps(login.url)}\ntoken = {json.dumps(login.token)}\n"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(fresh, goal)
    return goal


def _read(file: Path) -> Login:
    try:
        with file.open("rb") as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise click.UsageError(f"others can read {file}: chmod 600 it")
            content = tomllib.load(opened)
    except FileNotFoundError:
        return Login(DEFAULT_URL, None)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"{file}: {error}") from error
    url, token = content.get("url", DEFAULT_URL), content.get("token")
    if not isinstance(url, str) or not (token is None or isinstance(token, str)):
        raise click.UsageError(f"{file}: url and token must be texts")
    return Login(url.rstrip("/"), token)
