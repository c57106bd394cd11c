# SPDX-License-Identifier: Apache-2.0
"""What an installation can be told: from `tidegate.toml` and from TIDEGATE_* variables, the latter winning."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PREFIX = "TIDEGATE_"

# Variables with our prefix that are not settings: of the command line, of single runs, of lab, tests and demo.
_NOT_SETTINGS = frozenset({"TIDEGATE_CONFIG", "TIDEGATE_URL", "TIDEGATE_TOKEN", "TIDEGATE_HMAC_KEY"})
_NOT_SETTINGS_PREFIXES = ("TIDEGATE_LAB_", "TIDEGATE_TEST_", "TIDEGATE_DEMO_", "TIDEGATE_BENCH_")

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(Exception):
    """A setting that is unknown, ill-typed or impossible; the message names it and where it stands."""


@dataclass(frozen=True)
class Settings:
    """One installation's settings. Times are seconds, sizes are bytes.

    `workers` are those inside `tidegate serve`. `artifact_url` and `artifact_token` are for a worker on
    another machine: where it fetches the archives that it lacks; it keeps about `artifact_cache_bytes` of them. An
    archive that no version names is collected `artifact_grace_seconds` after it was last pushed, not before.
    Every `drift_interval_seconds` each target is looked at for drift, every `network_entry_check_seconds` each network
    entry, every `canary_watch_seconds` each canary in a cluster that waits for people, and every
    `cluster_certificates_check_seconds` the certificates of each cluster that Tidegate made; 0 for not by itself.
    `cluster_address_allow` are networks (CIDR) that a cluster's endpoint may lead to although it is loopback,
    link-local or the like; `cluster_allow_insecure_tls` lets clusters in whose certificate is not verified.
    `bundle_trusted_keys` are files or base64 of ed25519 public keys; when there is one, a bundle must be signed by
    one of them. `bundle_dir` is the bundle that environments are installed from, on every machine with a worker.
    `trusted_proxies` is how many proxies stand before the server, each of which appends who asked it to
    X-Forwarded-For: that many entries from its end are believed, so that the limit of failed logins counts by client.
    `notification_address_allow` are networks that a notification may go to although they are not of the internet.
    """

    home: Path
    database_url: str
    key_file: Path
    artifact_dir: Path
    bundle_dir: Path
    run_dir: Path
    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    preview_ttl_seconds: float = 1800
    workers: int = 2
    lease_seconds: float = 15
    heartbeat_seconds: float = 5
    max_body_bytes: int = 8_000_000
    max_artifact_bytes: int = 8_000_000_000
    artifact_grace_seconds: float = 86_400
    drift_interval_seconds: float = 0
    network_entry_check_seconds: float = 60
    canary_watch_seconds: float = 60
    cluster_certificates_check_seconds: float = 86400
    basic_auth: bool = True
    trusted_proxies: int = 0
    log_level: str = "INFO"
    policy_file: Path | None = None
    artifact_url: str | None = None
    artifact_token: str | None = field(default=None, repr=False)
    artifact_cache_bytes: int = 32_000_000_000
    bundle_trusted_keys: tuple[str, ...] = ()
    cluster_address_allow: tuple[str, ...] = ()
    cluster_allow_insecure_tls: bool = False
    notification_address_allow: tuple[str, ...] = ()

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this machine (and workers are woken without a broker)."""
        return self.database_url.startswith("sqlite")

    def make_folders(self) -> None:
        """Create the folders of the installation, readable by their owner only."""
        for folder in (self.home, self.artifact_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def default_home(environ: Mapping[str, str]) -> Path:
    """Return /var/lib/tidegate for root, else a folder of the user's own."""
    if os.geteuid() == 0:
        return Path("/var/lib/tidegate")
    data_home = environ.get("XDG_DATA_HOME")
    return (Path(data_home) if data_home else Path.home() / ".local" / "share") / "tidegate"


def load(environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """Read the settings.

    `file` (or TIDEGATE_CONFIG) must exist when it is given; otherwise `<home>/tidegate.toml` is read when
    it is there.

    Raises:
        SettingsError: an unknown key, a value of the wrong type, or values that do not fit together.
    """
    from_environ = _from_environ(environ)
    path = file or (Path(environ["TIDEGATE_CONFIG"]) if environ.get("TIDEGATE_CONFIG") else None)
    if path is None:
        beside = Path(from_environ.get("home", ("", default_home(environ)))[1]).expanduser() / "tidegate.toml"
        path = beside if beside.is_file() else None
    given = _from_file(path) if path else {}
    given.update(from_environ)
    values = {key: _READERS[key](where, value) for key, (where, value) in given.items()}
    return _complete(values, environ)


def _from_environ(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    given: dict[str, tuple[str, Any]] = {}
    unknown = []
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or name in _NOT_SETTINGS or name.startswith(_NOT_SETTINGS_PREFIXES):
            continue
        key = name.removeprefix(_PREFIX).lower()
        if key in _READERS:
            given[key] = (name, environ[name])
        else:
            unknown.append(name)
    if unknown:
        raise SettingsError(f"unknown settings in the environment: {', '.join(unknown)}")
    return given


def _from_file(path: Path) -> dict[str, tuple[str, Any]]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    unknown = sorted(content.keys() - _READERS.keys())
    if unknown:
        raise SettingsError(f"unknown settings in {path}: {', '.join(unknown)}")
    return {key: (f"{key} in {path}", value) for key, value in content.items()}


def _complete(values: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    home: Path = values.setdefault("home", default_home(environ))
    if not home.is_absolute():
        raise SettingsError(f"home must be an absolute path, not {home}")
    if "listen" in values:
        values["listen_host"], values["listen_port"] = values.pop("listen")
    values.setdefault("database_url", f"sqlite:///{home}/tidegate.db")
    values.setdefault("key_file", home / "keys")
    values.setdefault("artifact_dir", home / "artifacts")
    values.setdefault("bundle_dir", home / "bundle")
    values.setdefault("run_dir", _run_dir(home))
    settings = Settings(**values)
    if settings.heartbeat_seconds * 2 > settings.lease_seconds:
        raise SettingsError(
            "heartbeat_seconds must be at most half of lease_seconds, or leases end by mere delay"
        )
    if bool(settings.artifact_url) != bool(settings.artifact_token):
        raise SettingsError("artifact_url and artifact_token go together: set both or neither")
    return settings


def _run_dir(home: Path) -> Path:
    """Return a folder in memory for what runs need: keys and rendered secrets never reach a disk.

    It is short as well: ssh's control sockets lie below it, and a socket's path may have 107 bytes.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folder below it is ours, 0700, and checked before use
    if not memory.is_dir():
        return home / "runs"
    return memory / f"tidegate-{os.geteuid()}-{hashlib.sha256(bytes(home)).hexdigest()[:8]}"


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{where}: expected a text")
    return value


def _path(where: str, value: Any) -> Path:
    return Path(_text(where, value)).expanduser()


def _whole(minimum: int) -> Callable[[str, Any], int]:
    def read(where: str, value: Any) -> int:
        try:
            if isinstance(value, bool | float):
                raise TypeError
            number = int(value)
        except (TypeError, ValueError):
            raise SettingsError(f"{where}: expected a whole number") from None
        if number < minimum:
            raise SettingsError(f"{where}: must be at least {minimum}")
        return number

    return read


def _seconds(where: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{where}: expected a number of seconds") from None
    if not 0 < number < 10**9:
        raise SettingsError(f"{where}: must be more than 0 seconds")
    return number


def _switch(where: str, value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise SettingsError(f"{where}: expected true or false")


def _level(where: str, value: Any) -> str:
    level = _text(where, value).upper()
    if level not in _LOG_LEVELS:
        raise SettingsError(f"{where}: expected one of {', '.join(_LOG_LEVELS)}")
    return level


def _listen(where: str, value: Any) -> tuple[str, int]:
    host, colon, port = _text(where, value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{where}: expected ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return host, int(port)


def _database(where: str, value: Any) -> str:
    url = _text(where, value)
    if not url.startswith(("sqlite:///", "postgresql://")):
        # The value is not repeated: it may hold a password.
        raise SettingsError(f"{where}: expected sqlite:///PATH or postgresql://...")
    return url


def _web_url(where: str, value: Any) -> str:
    url = _text(where, value)
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"{where}: expected an http or https URL")
    return url.rstrip("/")


def _networks(where: str, value: Any) -> tuple[str, ...]:
    """Read networks: a list in the file, words between commas in a variable."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise SettingsError(f"{where}: expected a list of networks, such as 10.0.0.0/8")
    try:
        return tuple(str(ipaddress.ip_network(word.strip())) for word in words if word.strip())
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None


def _texts(where: str, value: Any) -> tuple[str, ...]:
    """Read a list of texts; a variable holds them with commas between."""
    given = [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(one, str) and one for one in given):
        raise SettingsError(f"{where}: expected a list of texts")
    return tuple(given)


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "home": _path,
    "database_url": _database,
    "key_file": _path,
    "artifact_dir": _path,
    "bundle_dir": _path,
    "run_dir": _path,
    "listen": _listen,
    "preview_ttl_seconds": _seconds,
    "workers": _whole(0),
    "lease_seconds": _seconds,
    "heartbeat_seconds": _seconds,
    "max_body_bytes": _whole(1024),
    "max_artifact_bytes": _whole(1024),
    "artifact_grace_seconds": _whole(60),
    "drift_interval_seconds": _whole(0),
    "network_entry_check_seconds": _whole(0),
    "canary_watch_seconds": _whole(0),
    "cluster_certificates_check_seconds": _whole(0),
    "basic_auth": _switch,
    "trusted_proxies": _whole(0),
    "log_level": _level,
    "policy_file": _path,
    "artifact_url": _web_url,
    "artifact_token": _text,
    "artifact_cache_bytes": _whole(1024),
    "bundle_trusted_keys": _texts,
    "cluster_address_allow": _networks,
    "cluster_allow_insecure_tls": _switch,
    "notification_address_allow": _networks,
}
