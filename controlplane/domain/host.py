# SPDX-License-Identifier: Apache-2.0
"""What may be said of a host: none of it can be read as an option, a second argument or a pattern by ssh or Ansible."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_KEY = re.compile(
    r"-----BEGIN (OPENSSH |RSA |EC |)PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END \1PRIVATE KEY-----"
)
_OPEN_OPENSSH_KEY = b"openssh-key-v1\0\0\0\0\x04none"
LONGEST_PASSWORD = 1024


def errors_of(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return for each field that cannot be taken why; fields that are not given are not looked at."""
    rules = {
        "name": (_is_name, "must be 1 to 63 of a-z, 0-9 and -, and neither begin nor end with -"),
        "address": (_is_address, "must be a host name or an IP address"),
        "port": (_is_port, "must be from 1 to 65535"),
        "user": (
            _is_user,
            "must be a login name: letters, digits, _ . -, not beginning with a digit, - or .",
        ),
        "private_key": (_is_key, "must be a private key without passphrase, in PEM or OpenSSH form"),
        "password": (_is_password, f"must be one line of 1 to {LONGEST_PASSWORD} characters"),
        "become_password": (_is_password, f"must be one line of 1 to {LONGEST_PASSWORD} characters"),
    }
    nothing = {"private_key", "password", "become_password"}
    return {
        field: [message]
        for field, (is_fit, message) in rules.items()
        if field in given and not (given[field] is None and field in nothing) and not is_fit(given[field])
    }


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_address(value: Any) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= 253:
        return False
    try:
        # A zone (`fe80::1%eth0`) names an interface of this machine, and % means something to ssh.
        return "%" not in value and bool(ipaddress.ip_address(value))
    except ValueError:
        labels = value.split(".")
        is_number = labels[-1].isdigit()
        return not is_number and all(_LABEL.fullmatch(label) for label in labels)


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _is_user(value: Any) -> bool:
    return isinstance(value, str) and _USER.fullmatch(value) is not None


def _is_key(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > 65536:
        return False
    found = _KEY.fullmatch(value.replace("\r\n", "\n").strip())
    if found is None:
        return False
    try:
        content = base64.b64decode(found[2].replace("\n", ""), validate=True)
    except ValueError:
        return False
    return found[1] != "OPENSSH " or content.startswith(_OPEN_OPENSSH_KEY)


def _is_password(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= LONGEST_PASSWORD and value.isprintable()
